"""A load on one server, with what the server counted and what its processes used meanwhile."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import counters, processes
from benchmarks.closed_loop import Call, Load, drive
from benchmarks.counters import Counters
from server.process import RunningServer


@dataclass(frozen=True)
class Observed:
    """What one load cost.

    Attributes:
        load: what the callers saw.
        counters: by model.
        cpu_s: processor time by model, tritonserver itself as `processes.FRONT`.
        callers_cpu_s: processor time of the callers, which share the machine with the server.
    """

    load: Load
    counters: dict[str, Counters]
    cpu_s: dict[str, float]
    callers_cpu_s: float

    def as_row(self) -> dict[str, Any]:
        """Return what the callers saw, for a result file."""
        return {
            "pictures_per_s": self.load.pictures_per_s,
            "people_per_s": self.load.people_per_s,
            "people_per_picture": self.load.people_per_picture,
            "mean_ms": sum(self.load.latencies_s) / len(self.load.latencies_s) * 1000,
            **{f"p{percent}_ms": self.load.percentile_ms(percent) for percent in (50, 95, 99)},
        }


def observe(
    server: RunningServer,
    make_call: Callable[[], Call],
    pictures: Sequence[bytes],
    callers: int,
    requests: int,
    ramp: int = 0,
) -> Observed:
    """Warm up, then load a server and watch it; what it counts and uses includes the ramp of the load."""
    drive(make_call, pictures, callers, max(8, callers))
    before, cpu, own = counters.read(server.control), processes.cpu_seconds(server), time.process_time()
    load = drive(make_call, pictures, callers, max(requests, 2 * callers), ramp)
    own = time.process_time() - own
    after = processes.cpu_seconds(server)
    used = {name: seconds - cpu.get(name, 0.0) for name, seconds in after.items()}
    return Observed(load, counters.since(before, counters.read(server.control)), used, own)
