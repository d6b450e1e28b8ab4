"""What the Python steps have in common: a request's tensors in, a dict of arrays out, errors to that one caller."""

import json
import math
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from ensemble.admission import TurnedAway, leave

Arrays = Mapping[str, NDArray[Any]]
_PLACES = {"place", "ticket"}  # in the pipeline
_REFUSED = "cigpose_pictures_refused_total"
_TURNED_AWAY = "cigpose_pictures_turned_away_total"
_BY_REASON = {
    _REFUSED: "Pictures refused for a mistake of the caller's, by reason.",
    _TURNED_AWAY: "Pictures that an overloaded server had no place for, or none in time, by reason.",
}


@dataclass(frozen=True)
class Request:
    """One request, without Triton.

    Attributes:
        tensors: input arrays by name.
        parameters: by name.
        wanted: names of the outputs that are asked for.
        timeout_s: Triton's own parameter `timeout`, how long the request may wait; infinite where it was not given.
    """

    tensors: Arrays
    parameters: Mapping[str, Any]
    wanted: frozenset[str]
    timeout_s: float = math.inf


class PythonStep:
    """Base of every step's `TritonPythonModel`: they say `configure` and `run`, and nothing else.

    Attributes:
        counters: name -> help text of the Prometheus counters that the step adds to Triton's own.
        refusals: reasons why the step refuses a caller's picture, each counted; an error names its own as `reason`,
            else the first applies.
        turns_away: reasons why the step has no place for a picture, each counted.
        then: what becomes of the picture's place after an answer: `leave` where the request ends with this step,
            `pause` where it may, None where other steps follow.
    """

    counters: Mapping[str, str] = {}
    refusals: tuple[str, ...] = ()
    turns_away: tuple[str, ...] = ()
    then: Callable[[NDArray[Any]], None] | None = None

    def configure(self, parameters: Mapping[str, str]) -> None:
        """Take the settings of the model's config."""

    def run(self, request: Request) -> Arrays:
        """Answer one request.

        Raises:
            ValueError: the caller's mistake; the text is sent to the caller.
            TurnedAway: no place, or none in time; likewise.
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
        reasons = {_REFUSED: self.refusals, _TURNED_AWAY: self.turns_away}
        by_reason = {name: text for name, text in _BY_REASON.items() if reasons[name]}
        self._families = {
            name: pb_utils.MetricFamily(name=name, description=text, kind=pb_utils.MetricFamily.COUNTER)
            for name, text in {**self.counters, **by_reason}.items()
        }
        self._metrics: dict[tuple[str, ...], Any] = {}
        for name in by_reason:
            for reason in reasons[name]:  # a counter that appears only with its first event hides it from `rate`
                self.count(name, 0, reason=reason)
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
        then = leave if response.has_error() else type(self).then
        if then:
            for name in _PLACES & read.tensors.keys():
                then(read.tensors[name])
        return response

    def _answer(self, request: Request) -> Any:
        try:
            outputs = self.run(request)
        except ValueError as error:
            if self.refusals:
                self.count(_REFUSED, reason=getattr(error, "reason", self.refusals[0]))
            return _failure(str(error), pb_utils.TritonError.INVALID_ARG)
        except TurnedAway as error:
            self.count(_TURNED_AWAY, reason=error.reason)
            return _failure(str(error), pb_utils.TritonError.UNAVAILABLE)
        except Exception:  # ours: what escaped `execute` would fail the whole batch and show our file paths
            pb_utils.Logger.log_error(traceback.format_exc())
            return _failure("internal error", pb_utils.TritonError.INTERNAL)
        tensors = [pb_utils.Tensor(name, np.ascontiguousarray(array)) for name, array in outputs.items()]
        return pb_utils.InferenceResponse(tensors)


def input_size(parameters: Mapping[str, str]) -> tuple[int, int]:
    """Return the (w, h) that a step's config states."""
    return int(parameters["input_width"]), int(parameters["input_height"])


class _Tensors(Mapping[str, NDArray[Any]]):
    """Input arrays by name, each made when it is asked for: that copies encoded pictures."""

    def __init__(self, tensors: list[Any]):
        self._tensors = {tensor.name(): tensor for tensor in tensors}

    def __getitem__(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = self._tensors[name].as_numpy()
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _read(request: Any) -> Request:
    return Request(
        tensors=_Tensors(request.inputs()),
        parameters=json.loads(request.parameters() or "{}"),
        wanted=frozenset(request.requested_output_names()),
        timeout_s=request.timeout() / 1e6 or math.inf,
    )


def _failure(message: str, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
