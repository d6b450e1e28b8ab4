"""Request parameters: their names, defaults and ranges, and the error for anything else."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

_RESERVED = ("timeout", "priority", "sequence_id", "sequence_start", "sequence_end", "headers")  # Triton's own


class ParameterRefused(ValueError):
    """A request parameter is invalid. `reason` is the value of a metric's label; the text is shown to the caller."""

    reason = "parameters"


@dataclass(frozen=True)
class RequestParameters:
    """Options of one request.

    Attributes:
        bbox_threshold: least detector score of a person.
        nms_threshold: largest IoU of two boxes that are both kept.
        max_persons: most persons in an answer.
    """

    bbox_threshold: float = 0.5
    nms_threshold: float = 0.45
    max_persons: int = 32


_RANGES = {"bbox_threshold": (0.0, 1.0), "nms_threshold": (0.0, 1.0), "max_persons": (1, 10_000)}


def parse_parameters(given: Mapping[str, Any], defaults: RequestParameters) -> RequestParameters:
    """Check the parameters of a request and fill in the defaults.

    Args:
        given: name -> number or numeric string. Names that Triton reserves are ignored.
        defaults: values of the parameters that are not given.

    Raises:
        ParameterRefused: a name is unknown, or a value is no number or out of range; the message names parameter,
            value and range.
    """
    options = {k: v for k, v in given.items() if k not in _RESERVED and not k.startswith("triton_")}
    unknown = sorted(options.keys() - _RANGES.keys())
    if unknown:
        raise ParameterRefused(f"unknown request parameter {', '.join(unknown)}; known: {', '.join(_RANGES)}")
    values = {field.name: getattr(defaults, field.name) for field in fields(defaults)}
    values |= {name: _parse(name, value) for name, value in options.items()}
    return RequestParameters(**values)


def _parse(name: str, value: Any) -> float | int:
    low, high = _RANGES[name]
    whole = isinstance(low, int)
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number <= high or (whole and number != int(number)):
        kind = "whole number" if whole else "number"
        raise ParameterRefused(f"request parameter {name} is {value!r}; it must be a {kind} from {low} to {high}")
    return int(number) if whole else number
