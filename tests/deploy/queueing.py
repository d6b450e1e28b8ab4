"""`python -m tests.deploy.queueing`: the queueing formula against a server's own counters, for every stage.

Arrivals are scheduled (open loop): callers that wait for an answer before they ask again would hide the queue. One
stage is called at a time, or the others would take the cores from it. On a machine that does other work, which holds up
stages and callers alike, run it as `chrt --rr 5 python -m tests.deploy.queueing ...`; the result says so.
"""

import contextlib
import itertools
import json
import os
import queue
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc
from cigpose_client.outputs import write_file
from numpy.typing import NDArray

from benchmarks.machine import describe
from benchmarks.threshold import waiting_ms
from server.process import ServerOptions, free_port, running_server
from server.usage import CommandLine, command, input_path, output_path
from tests.deploy import stages

_LOADS = (0.2, 0.4, 0.6, 0.75)
_LEISURELY = 0.2 * np.arange(1, 21)  # s: one request at a time
_TRUSTED_LOAD = 0.8
_TOLERANCE = 0.3
_TYPICAL = 0.05
_NEARLY = (0.85, 1.0)
_TO_WARM_UP = 100
_MAY_BE_LATE = 0.15  # of the service time
_SWITCH_S = 1e-4  # between Python's threads: who answers must not keep the sender waiting
_PATIENCE_S = 60

Inputs = list["tritonclient.grpc.InferInput"]


@dataclass(frozen=True)
class Point:
    """One load: what arrived, what was measured, what the formula says; and how late, on average, we have sent."""

    arrivals_per_s: float
    service_ms: float
    load: float
    queue_ms: float
    formula_ms: float
    late_ms: float

    @property
    def error(self) -> float:
        """Return how far the formula is from the measurement, as a fraction of the latter."""
        return abs(self.formula_ms - self.queue_ms) / self.queue_ms

    @property
    def is_trusted(self) -> bool:
        """Return whether the formula may be held to it: who is held up in sending cuts the tops off the stream."""
        return self.load <= _TRUSTED_LOAD and self.late_ms <= _MAY_BE_LATE * self.service_ms


def point(before: Mapping[str, float], after: Mapping[str, float], duration_s: float, late_ms: float = 0.0) -> Point:
    """Return a point from the counters before and after it."""
    requests, queue_us, compute_us = (after[name] - before[name] for name in ("requests", "queue_us", "compute_us"))
    rate, service_ms = requests / duration_s, compute_us / requests / 1e3
    load = rate * service_ms / 1e3
    formula = waiting_ms(service_ms, min(load, 0.99))
    values = (rate, service_ms, load, queue_us / requests / 1e3, formula, late_ms)
    return Point(*(round(value, 3) for value in values))


def typical_arrivals(load: float, service_ms: float, count: int) -> NDArray[np.float64]:
    """Return times in seconds of Poisson arrivals, the first sequence that has the mean wait of all such.

    A few hundred arrivals may by chance wait half as long again. So a sequence is put through a queue of exactly that
    service time, and taken when its wait there is the formula's within 5 %: what is left to be off is the server. So it
    must be at a somewhat shorter time as well, since the server's is not known to the millisecond.
    """
    services = [(service_ms * factor, waiting_ms(service_ms * factor, load * factor)) for factor in _NEARLY]
    for seed in itertools.count():
        gaps_ms = np.random.default_rng(seed).exponential(service_ms / load, count)
        if all(abs(_wait_ms(gaps_ms, time_ms) / due_ms - 1) < _TYPICAL for time_ms, due_ms in services):
            break
    arrivals: NDArray[np.float64] = np.cumsum(gaps_ms) / 1e3
    return arrivals


def _wait_ms(gaps_ms: NDArray[np.float64], service_ms: float) -> float:
    waits = itertools.accumulate(gaps_ms[1:], lambda wait, gap: max(0.0, wait + service_ms - gap), initial=0.0)
    return float(np.mean([*waits]))


@dataclass(frozen=True)
class Stage:
    """One stage of a running server, and a request to it."""

    name: str
    inputs: Inputs
    output: Any
    client: Any
    metrics_url: str

    def measure(self, count: int) -> list[Point]:
        """Return one point for each load, of so many arrivals."""
        alone_ms = self._play(_LEISURELY).service_ms
        # a core that comes from doing nothing is slower
        busy_ms = self._play(typical_arrivals(0.5, alone_ms, _TO_WARM_UP)).service_ms
        return [self._play(typical_arrivals(load, busy_ms, count)) for load in _LOADS]

    def _play(self, arrivals: NDArray[np.float64]) -> Point:
        """Send a request at each time, wait for all answers, and return what the counters say of them."""
        before = self._read()
        ends: queue.SimpleQueue[Any] = queue.SimpleQueue()
        started, late_s = time.perf_counter(), 0.0
        for arrival in arrivals:
            time.sleep(max(0.0, started + arrival - time.perf_counter()))
            late_s += time.perf_counter() - started - arrival
            self.client.async_infer(
                self.name, self.inputs, lambda result, error: ends.put(error), outputs=[self.output]
            )
        for _ in arrivals:
            if error := ends.get(timeout=_PATIENCE_S):
                raise error
        after = self._counted(before["requests"] + len(arrivals))
        return point(before, after, float(arrivals[-1]), late_s / len(arrivals) * 1e3)

    def _counted(self, requests: float) -> dict[str, float]:
        """Return the counters as soon as they count so many requests: Triton answers first, and counts then."""
        deadline = time.monotonic() + _PATIENCE_S
        while (found := self._read())["requests"] < requests:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name}: {found['requests']:.0f} of {requests:.0f} requests were counted")
            time.sleep(0.05)
        return found

    def _read(self) -> dict[str, float]:
        with urllib.request.urlopen(self.metrics_url, timeout=10) as answer:
            text = answer.read().decode()

        def read(name: str) -> float:
            return sum(float(value) for value in re.findall(rf'^{name}{{model="{self.name}",.*}} (\S+)$', text, re.M))

        compute = sum(read(f"nv_inference_compute_{part}_duration_us") for part in ("input", "infer", "output"))
        queue_us = read("nv_inference_queue_duration_us")
        return {"requests": read("nv_inference_request_success"), "queue_us": queue_us, "compute_us": compute}


@contextlib.contextmanager
def _quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def measure(repository: Path, count: int) -> Iterator[tuple[str, list[Point]]]:
    """Yield every stage with its points."""
    with tempfile.TemporaryDirectory(prefix="cigpose-capacity-") as folder:
        configs = stages.simplify(repository, Path(folder) / "models")
        options = ServerOptions(Path(folder) / "models", grpc_port=free_port(), metrics_port=free_port())
        with (
            _quick_switches(),
            running_server(options, log=Path(folder) / "server.log") as running,
            tritonclient.grpc.InferenceServerClient(running.grpc_url) as client,
        ):
            for name, inputs in stages.requests(configs).items():
                metrics_url = f"http://127.0.0.1:{options.metrics_port}/metrics"
                output = stages.smallest_output(configs[name])
                yield name, Stage(name, inputs, output, client, metrics_url).measure(count)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a line each, write the results; return 1 when the formula is off at a load it is trusted for."""
    parser = CommandLine(prog="python -m tests.deploy.queueing", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repository", type=input_path, required=True, help="of one pose network")
    parser.add_argument("--arrivals", type=int, default=500, help="for each load (default: %(default)s)")
    parser.add_argument("--output", type=output_path, help="file for the results (JSON)")
    options = parser.parse_args(argv)
    machine, found = describe(), {}
    is_real_time = os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)
    for name, points in measure(options.repository, options.arrivals):
        found[name] = points
        for seen in points:
            print(f"{name:30} {json.dumps(asdict(seen))}", flush=True)
    if options.output:
        told = {name: [asdict(seen) for seen in points] for name, points in found.items()}
        result = {"machine": machine, "real_time": is_real_time, "arrivals": options.arrivals, "stages": told}
        write_file(options.output, json.dumps(result, indent=2) + "\n")
    missed = [*misses(found)]
    for miss in missed:
        print(f"FAILED {miss}", file=sys.stderr)
    return 1 if missed else 0


def misses(found: Mapping[str, Sequence[Point]]) -> Iterator[str]:
    """Yield where the formula is off at a load it is trusted for."""
    for name, points in found.items():
        trusted = [seen for seen in points if seen.is_trusted]
        for seen in trusted:
            if seen.error > _TOLERANCE:
                yield f"{name}: at a load of {seen.load} the formula is off by {seen.error:.0%}"
        if len(trusted) < 3:
            yield f"{name}: {len(trusted)} points sent in time, up to a load of {_TRUSTED_LOAD}, prove nothing"


if __name__ == "__main__":
    sys.exit(main())
