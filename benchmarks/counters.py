"""Triton's counters of each model, and their difference between two readings."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from server.control import Control

_NS_PER_MS = 1e6


@dataclass(frozen=True)
class Executions:
    """The executions of one batch size: their number, and their total time in milliseconds."""

    count: int
    ms: float


@dataclass(frozen=True)
class Counters:
    """The counters of one model. Times are totals in milliseconds.

    Attributes:
        requests: number of successful requests.
        queue_ms: time of the requests in queue.
        infer_ms: time of the executions in the model's own code.
        copy_ms: time in which the executions moved inputs and outputs.
        executions: executions by batch size: rows of the batch axis, or requests for a model without one.
    """

    requests: int = 0
    queue_ms: float = 0.0
    infer_ms: float = 0.0
    copy_ms: float = 0.0
    executions: Mapping[int, Executions] = field(default_factory=dict)

    @property
    def execution_count(self) -> int:
        """The number of executions."""
        return sum(executed.count for executed in self.executions.values())

    @property
    def rows_per_execution(self) -> float:
        """The mean batch size."""
        rows = sum(size * executed.count for size, executed in self.executions.items())
        return rows / max(self.execution_count, 1)

    @property
    def ms_per_execution(self) -> float:
        """The mean time of an execution in milliseconds, copies included."""
        return (self.infer_ms + self.copy_ms) / max(self.execution_count, 1)

    def since(self, before: "Counters") -> "Counters":
        """Return the difference from an earlier reading."""
        executions = {}
        for size, executed in self.executions.items():
            earlier = before.executions.get(size, Executions(0, 0.0))
            if executed.count > earlier.count:
                executions[size] = Executions(executed.count - earlier.count, executed.ms - earlier.ms)
        return Counters(
            self.requests - before.requests,
            self.queue_ms - before.queue_ms,
            self.infer_ms - before.infer_ms,
            self.copy_ms - before.copy_ms,
            executions,
        )


def read(control: Control) -> dict[str, Counters]:
    """Return the counters of every model, when they no longer change: Triton counts a request after its answer."""
    first = control.statistics()
    while True:
        time.sleep(0.1)
        second = control.statistics()
        if second == first:
            return {name: _counters(model) for name, model in first.items()}
        first = second


def since(before: Mapping[str, Counters], after: Mapping[str, Counters]) -> dict[str, Counters]:
    """Return the difference of two readings, for the models that ran between them."""
    counted = {name: counters.since(before.get(name, Counters())) for name, counters in after.items()}
    return {name: counters for name, counters in counted.items() if counters.requests}


def _counters(model: Any) -> Counters:
    infer_ns, copy_ns, executions = 0, 0, {}
    for batch in model.batch_stats:
        infer, copy = batch.compute_infer, batch.compute_input.ns + batch.compute_output.ns
        infer_ns, copy_ns = infer_ns + infer.ns, copy_ns + copy
        executions[int(batch.batch_size)] = Executions(infer.count, (infer.ns + copy) / _NS_PER_MS)
    stats = model.inference_stats
    queue_ms, infer_ms, copy_ms = (nanoseconds / _NS_PER_MS for nanoseconds in (stats.queue.ns, infer_ns, copy_ns))
    return Counters(stats.success.count, queue_ms, infer_ms, copy_ms, executions)
