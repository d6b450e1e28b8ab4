"""Runs a step inside Triton's Python backend. A failing request does not affect the others of its batch."""

import json
import math
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from ensemble.steps import Request, load_step
from ensemble.triton.admission.tickets import TurnedAway, hang_up, leave, pause, resume
from ensemble.triton.quirks import inner_of

_TICKETS = {"place", "ticket"}
# The parameter `ticket` of a model's config -> what happens to the ticket before and after the step.
_BEFORE: Mapping[str, Callable[[NDArray[Any]], None]] = {"resume": resume}
_AFTER: Mapping[str, Callable[[NDArray[Any]], None]] = {"pause": pause, "leave": leave}
_COUNTERS_LATE_S = 0.5
_REFUSED = "cigpose_pictures_refused_total"
_TURNED_AWAY = "cigpose_pictures_turned_away_total"
_HELP = {
    _REFUSED: "Pictures rejected because the request was invalid, by reason.",
    _TURNED_AWAY: "Pictures rejected because the server was overloaded, by reason.",
}


class TritonPythonModel:
    """One instance of a model whose config names a step in its parameter `step`."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Create the step. Triton calls this once for each instance."""
        config = json.loads(args["model_config"])
        parameters = {key: entry["string_value"] for key, entry in config["parameters"].items()}
        self._step = load_step(config["name"], parameters)
        self._ticket = parameters["ticket"]
        # `is_cancelled` waits for an answer of tritonserver, which takes longer than a light step. It is true only for
        # callers that hung up before this step's request was made, so the gate's steps need not ask. The last step
        # asks, or the gate would take late answers, which nobody waits for, for ones in time.
        self._may_drop = self._step.weight == "pixels" or self._ticket == "leave"
        if self._step.weight == "pixels":
            import cv2  # the gate's steps do without

            cv2.setNumThreads(1)  # OpenCV's idle threads spin on cores that the networks need
        reasons = {_REFUSED: self._step.refusals, _TURNED_AWAY: getattr(self._step, "turns_away", ())}
        self._counters = _Counters({**self._step.counters, **{name: _HELP[name] for name in _HELP if reasons[name]}})
        for name, of_name in reasons.items():
            for reason in of_name:  # `rate` misses the first event of a counter that did not exist before it
                self._counters.add(name, 0, reason=reason)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request separately. Triton calls this with a batch."""
        return [self._respond(request) for request in requests]

    def finalize(self) -> None:
        """Tell the last counts. Triton calls this when it unloads the model."""
        self._counters.tell()

    def _respond(self, triton_request: Any) -> Any:
        asked = triton_request.requested_output_names()
        request = _read(triton_request, asked)
        tickets = [request.tensors[name] for name in _TICKETS & request.tensors.keys()]
        if self._may_drop and triton_request.is_cancelled():
            _each(hang_up, tickets)
            return _failure("the caller has hung up", pb_utils.TritonError.CANCELLED)
        _each(_BEFORE.get(self._ticket), tickets)
        response = self._answer(request, asked)
        _each(leave if response.has_error() else _AFTER.get(self._ticket), tickets)
        return response

    def _answer(self, request: Request, asked: list[str]) -> Any:
        step = self._step
        try:
            outputs = dict(step.run(request))
            for name, amount in step.counts(request.tensors, outputs).items():
                self._counters.add(name, amount)
            for name in set(asked) - outputs.keys():
                outputs[name] = outputs[inner_of(name)]
        except ValueError as error:
            if step.refusals:
                self._counters.add(_REFUSED, reason=getattr(error, "reason", step.refusals[0]))
            return _failure(str(error), pb_utils.TritonError.INVALID_ARG)
        except TurnedAway as error:
            self._counters.add(_TURNED_AWAY, reason=error.reason)
            return _failure(str(error), pb_utils.TritonError.UNAVAILABLE)
        except Exception:  # if it escaped `execute`, it would fail the whole batch and expose file paths
            pb_utils.Logger.log_error(traceback.format_exc())
            return _failure("internal error", pb_utils.TritonError.INTERNAL)
        tensors = [pb_utils.Tensor(name, np.ascontiguousarray(array)) for name, array in outputs.items()]
        return pb_utils.InferenceResponse(tensors)


class _Counters:
    """Prometheus counters on Triton's metrics port, up to half a second late.

    Each increment waits for an answer of tritonserver, so those of half a second are made together.
    """

    def __init__(self, help_texts: Mapping[str, str]):
        self._families = {
            name: pb_utils.MetricFamily(name=name, description=text, kind=pb_utils.MetricFamily.COUNTER)
            for name, text in help_texts.items()
        }
        self._metrics: dict[tuple[str, ...], Any] = {}
        self._added: dict[tuple[str, ...], int] = {}
        self._lock = threading.Lock()

    def add(self, name: str, amount: int = 1, **labels: str) -> None:
        """Add to a counter. The metric of a set of labels is created on first use."""
        key = (name, *labels.values())
        if key not in self._metrics:
            self._metrics[key] = self._families[name].Metric(labels=labels)
        if not amount:
            return
        with self._lock:
            if not self._added:
                timer = threading.Timer(_COUNTERS_LATE_S, self.tell)
                timer.daemon = True  # the process must not wait for it
                timer.start()
            self._added[key] = self._added.get(key, 0) + amount

    def tell(self) -> None:
        """Tell tritonserver what was added."""
        with self._lock:
            added, self._added = self._added, {}
        for key, amount in added.items():
            self._metrics[key].increment(amount)


class _Tensors(Mapping[str, NDArray[Any]]):
    """Input arrays by name. Each is created on access, because that copies an encoded picture."""

    def __init__(self, tensors: list[Any]):
        self._tensors = {tensor.name(): tensor for tensor in tensors}

    def __getitem__(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = self._tensors[name].as_numpy()
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _read(request: Any, asked: list[str]) -> Request:
    return Request(
        tensors=_Tensors(request.inputs()),
        parameters=json.loads(request.parameters() or "{}"),
        wanted=frozenset(map(inner_of, asked)),
        timeout_s=request.timeout() / 1e6 or math.inf,
    )


def _each(action: Callable[[NDArray[Any]], None] | None, tickets: list[NDArray[Any]]) -> None:
    if action:
        for ticket in tickets:
            action(ticket)


def _failure(message: str, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
