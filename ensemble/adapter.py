"""What the Python steps have in common: a request's tensors in, a dict of arrays out, errors to that one caller."""

import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from ensemble.admission import leave

Arrays = Mapping[str, NDArray[Any]]
_REFUSED = "cigpose_pictures_refused_total"


@dataclass(frozen=True)
class Request:
    """One request, without Triton: input arrays by name, its parameters, and the outputs that are wanted."""

    tensors: Arrays
    parameters: Mapping[str, Any]
    wanted: frozenset[str]


class PythonStep:
    """Base of every step's `TritonPythonModel`: they say `configure` and `run`, and nothing else.

    Attributes:
        counters: name -> help text of the Prometheus counters that the step adds to Triton's own.
        refusals: reasons why the step refuses a caller's picture, each counted; an error names its own as `reason`,
            else the first applies.
        handed_on: outputs that a later step takes; where none of them is wanted, the request ends with this step.
    """

    counters: Mapping[str, str] = {}
    refusals: tuple[str, ...] = ()
    handed_on: frozenset[str] = frozenset()

    def configure(self, parameters: Mapping[str, str]) -> None:
        """Take the settings of the model's config."""

    def run(self, request: Request) -> Arrays:
        """Answer one request.

        Raises:
            ValueError: the caller's mistake; the text is sent to the caller.
        """
        raise NotImplementedError

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Add to one of `counters`; the metric of new labels is made on first use."""
        key = (name, *labels.values())
        if key not in self._metrics:
            self._metrics[key] = self._families[name].Metric(labels=labels)
        self._metrics[key].increment(amount)

    def initialize(self, args: Mapping[str, str]) -> None:
        """Called by Triton once for each instance."""
        refused = {_REFUSED: "Pictures refused for a mistake of the caller's, by reason."} if self.refusals else {}
        self._families = {
            name: pb_utils.MetricFamily(name=name, description=text, kind=pb_utils.MetricFamily.COUNTER)
            for name, text in {**self.counters, **refused}.items()
        }
        self._metrics: dict[tuple[str, ...], Any] = {}
        for reason in self.refusals:  # a counter that appears only with its first event hides that event from `rate`
            self.count(_REFUSED, 0, reason=reason)
        entries = json.loads(args["model_config"])["parameters"]
        self.configure({key: entry["string_value"] for key, entry in entries.items()})

    def execute(self, requests: list[Any]) -> list[Any]:
        """Called by Triton; answers each request by itself."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        read = _read(request)
        if request.is_cancelled():
            response = _failure("the caller has hung up", pb_utils.TritonError.CANCELLED)
        else:
            response = self._answer(read)
        if "ticket" in read.tensors and (response.has_error() or not read.wanted & self.handed_on):
            leave(read.tensors["ticket"])
        return response

    def _answer(self, request: Request) -> Any:
        try:
            outputs = self.run(request)
        except ValueError as error:
            if self.refusals:
                self.count(_REFUSED, reason=getattr(error, "reason", self.refusals[0]))
            return _failure(str(error), pb_utils.TritonError.INVALID_ARG)
        except Exception:  # ours: what escaped `execute` would fail the whole batch and show our file paths
            pb_utils.Logger.log_error(traceback.format_exc())
            return _failure("internal error", pb_utils.TritonError.INTERNAL)
        tensors = [pb_utils.Tensor(name, np.ascontiguousarray(array)) for name, array in outputs.items()]
        return pb_utils.InferenceResponse(tensors)


def input_size(parameters: Mapping[str, str]) -> tuple[int, int]:
    """Return the (w, h) that a step's config states."""
    return int(parameters["input_width"]), int(parameters["input_height"])


def _read(request: Any) -> Request:
    return Request(
        tensors={tensor.name(): tensor.as_numpy() for tensor in request.inputs()},
        parameters=json.loads(request.parameters() or "{}"),
        wanted=frozenset(request.requested_output_names()),
    )


def _failure(message: str, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
