"""`python -m tests.deploy.queueing`: compares the queueing formula with a server's own counters, for every stage.

Arrivals are scheduled (open loop): callers that wait for each answer would hide the queue. One stage is measured at a
time, because the others would use its cores. On a machine with other load, which delays stages and callers, run it as
`chrt --rr 5 python -m tests.deploy.queueing ...`; the result states the scheduling.
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
_WARM_UP = 100  # arrivals
_ALLOWED_DELAY = 0.15  # of sending, as a share of the service time
_SWITCH_S = 1e-4  # between Python's threads, so that the handling of answers does not delay sending
_PATIENCE_S = 60

Inputs = list["tritonclient.grpc.InferInput"]


@dataclass(frozen=True)
class Point:
    """One load: arrivals, measurements, the prediction of the formula, and the mean delay of sending."""

    arrivals_per_s: float
    service_ms: float
    load: float
    queue_ms: float
    formula_ms: float
    late_ms: float

    @property
    def error(self) -> float:
        """The error of the formula, as a fraction of the measurement."""
        return abs(self.formula_ms - self.queue_ms) / self.queue_ms

    @property
    def is_trusted(self) -> bool:
        """Whether the point is valid: late sends flatten bursts."""
        return self.load <= _TRUSTED_LOAD and self.late_ms <= _ALLOWED_DELAY * self.service_ms


def point(before: Mapping[str, float], after: Mapping[str, float], duration_s: float, late_ms: float = 0.0) -> Point:
    """Return a point from the counters before and after it."""
    requests, queue_us, compute_us = (after[name] - before[name] for name in ("requests", "queue_us", "compute_us"))
    rate, service_ms = requests / duration_s, compute_us / requests / 1e3
    load = rate * service_ms / 1e3
    formula = waiting_ms(service_ms, min(load, 0.99))
    values = (rate, service_ms, load, queue_us / requests / 1e3, formula, late_ms)
    return Point(*(round(value, 3) for value in values))


def typical_arrivals(load: float, service_ms: float, count: int) -> NDArray[np.float64]:
    """Return times of Poisson arrivals in seconds: the first random sequence with a typical mean wait.

    The mean wait of a few hundred arrivals may be half as long again by chance. So each sequence is simulated in a
    queue with exactly this service time, and used if its mean wait is that of the formula within 5 %. Then only the
    server can deviate. The same must hold for a shorter service time, because the server's is known roughly only.
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
        """Return one point for each load, each of `count` arrivals."""
        alone_ms = self._play(_LEISURELY).service_ms
        # a core is slower after it was idle
        busy_ms = self._play(typical_arrivals(0.5, alone_ms, _WARM_UP)).service_ms
        return [self._play(typical_arrivals(load, busy_ms, count)) for load in _LOADS]

    def _play(self, arrivals: NDArray[np.float64]) -> Point:
        """Send a request at each time, wait for all answers, and return the point from the counters."""
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
        """Wait until `requests` are counted, and return the counters: Triton counts a request after its answer."""
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
    """Yield the name of every stage with its points."""
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
    """Measure, print each point, write the results; return 1 when the formula is wrong at a valid point."""
    parser = CommandLine(prog="python -m tests.deploy.queueing", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repository", type=input_path, required=True, help="repository with one pose network")
    parser.add_argument("--arrivals", type=int, default=500, help="arrivals for each load (default: %(default)s)")
    parser.add_argument("--output", type=output_path, help="file for the results (JSON)")
    options = parser.parse_args(argv)
    machine, found = describe(), {}
    is_real_time = os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)
    for name, points in measure(options.repository, options.arrivals):
        found[name] = points
        for seen in points:
            print(f"{name:30} {json.dumps(asdict(seen))}", flush=True)
    if options.output:
        rows = {name: [asdict(seen) for seen in points] for name, points in found.items()}
        result = {"machine": machine, "real_time": is_real_time, "arrivals": options.arrivals, "stages": rows}
        write_file(options.output, json.dumps(result, indent=2) + "\n")
    missed = [*misses(found)]
    for miss in missed:
        print(f"FAILED {miss}", file=sys.stderr)
    return 1 if missed else 0


def misses(found: Mapping[str, Sequence[Point]]) -> Iterator[str]:
    """Yield a sentence for each valid point at which the formula is wrong."""
    for name, points in found.items():
        trusted = [seen for seen in points if seen.is_trusted]
        for seen in trusted:
            if seen.error > _TOLERANCE:
                yield f"{name}: at a load of {seen.load} the formula is off by {seen.error:.0%}"
        if len(trusted) < 3:
            yield f"{name}: {len(trusted)} points sent in time, up to a load of {_TRUSTED_LOAD}, prove nothing"


if __name__ == "__main__":
    sys.exit(main())
