"""What Triton counted of each model between two moments."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from server.control import Control

_NS_PER_MS = 1e6


@dataclass(frozen=True)
class Executions:
    """Executions of one batch size: how many, and the milliseconds of all of them together."""

    count: int
    ms: float


@dataclass(frozen=True)
class Counters:
    """One model's counters; times are sums in milliseconds.

    Attributes:
        requests: answered well.
        queue_ms: in queue, of all requests.
        infer_ms: in the model's own code, of all executions.
        copy_ms: moving inputs and outputs, of all executions.
        executions: by batch size (rows of the batch axis; requests, for a model without one).
    """

    requests: int = 0
    queue_ms: float = 0.0
    infer_ms: float = 0.0
    copy_ms: float = 0.0
    executions: Mapping[int, Executions] = field(default_factory=dict)

    @property
    def execution_count(self) -> int:
        """How often the model ran."""
        return sum(executed.count for executed in self.executions.values())

    @property
    def rows_per_execution(self) -> float:
        """Mean batch."""
        rows = sum(size * executed.count for size, executed in self.executions.items())
        return rows / max(self.execution_count, 1)

    @property
    def ms_per_execution(self) -> float:
        """Mean time of one execution, copies included."""
        return (self.infer_ms + self.copy_ms) / max(self.execution_count, 1)

    def since(self, before: "Counters") -> "Counters":
        """Return what was counted since `before`."""
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
    """Return every model's counters once they stand still: Triton counts a request after it has answered it."""
    found = control.statistics()
    while True:
        time.sleep(0.1)
        again = control.statistics()
        if again == found:
            return {name: _counters(model) for name, model in found.items()}
        found = again


def since(before: Mapping[str, Counters], after: Mapping[str, Counters]) -> dict[str, Counters]:
    """Return what each model that ran has counted between two readings."""
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
