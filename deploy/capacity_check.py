"""`python -m deploy.capacity_check`: the queueing formula against a server's own counters, for every stage.

Arrivals are scheduled (open loop): callers that wait for an answer before they ask again would hide the queue. One
stage is called at a time, or the others would take the cores from it.
"""

import argparse
import itertools
import json
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
from numpy.typing import NDArray

from benchmarks.machine import describe
from deploy import stages
from deploy.capacity import waiting_ms
from server.process import ServerOptions, free_port, running_server

_LOADS = (0.2, 0.4, 0.6, 0.75)
_LEISURELY = 0.2 * np.arange(1, 21)  # s: one request at a time
_TRUSTED_LOAD = 0.8
_TOLERANCE = 0.3
_TYPICAL = 0.03
_PATIENCE_S = 60

Inputs = list["tritonclient.grpc.InferInput"]


@dataclass(frozen=True)
class Point:
    """One load: what arrived, what was measured, what the formula says."""

    arrivals_per_s: float
    service_ms: float
    load: float
    queue_ms: float
    formula_ms: float

    @property
    def error(self) -> float:
        """Return how far the formula is from the measurement, as a fraction of the latter."""
        return abs(self.formula_ms - self.queue_ms) / self.queue_ms


def point(before: Mapping[str, float], after: Mapping[str, float], duration_s: float) -> Point:
    """Return a point from the counters before and after it."""
    requests, queue_us, compute_us = (after[name] - before[name] for name in ("requests", "queue_us", "compute_us"))
    rate, service_ms = requests / duration_s, compute_us / requests / 1e3
    load = rate * service_ms / 1e3
    formula = waiting_ms(service_ms, min(load, 0.99))
    return Point(*(round(value, 3) for value in (rate, service_ms, load, queue_us / requests / 1e3, formula)))


def typical_arrivals(load: float, service_ms: float, count: int) -> NDArray[np.float64]:
    """Return times in seconds of Poisson arrivals, the first sequence that has the mean wait of all such.

    A few hundred arrivals may by chance wait half as long again. So a sequence is put through a queue of exactly that
    service time, and taken when its wait there is the formula's within 3 %: what is left to be off is the server.
    """
    service_s, expected_s = service_ms / 1e3, waiting_ms(service_ms, load) / 1e3
    for seed in itertools.count():
        gaps = np.random.default_rng(seed).exponential(service_s / load, count)
        waits = itertools.accumulate(gaps[1:], lambda wait_s, gap: max(0.0, wait_s + service_s - gap), initial=0.0)
        if abs(np.mean([*waits]) / expected_s - 1) < _TYPICAL:
            return np.cumsum(gaps)
    raise AssertionError("itertools.count ends never")


@dataclass(frozen=True)
class Stage:
    """One stage of a running server, and a request to it."""

    name: str
    inputs: Inputs
    client: Any
    metrics_url: str

    def measure(self, count: int) -> list[Point]:
        """Return one point for each load, of so many arrivals."""
        self._play(_LEISURELY)  # to warm up
        alone_ms = self._play(_LEISURELY).service_ms
        return [self._play(typical_arrivals(load, alone_ms, count)) for load in _LOADS]

    def _play(self, arrivals: NDArray[np.float64]) -> Point:
        """Send a request at each time, wait for all answers, and return what the counters say of them."""
        before = self._read()
        ends: queue.SimpleQueue[Any] = queue.SimpleQueue()
        started = time.perf_counter()
        for arrival in arrivals:
            time.sleep(max(0.0, started + arrival - time.perf_counter()))
            self.client.async_infer(self.name, self.inputs, lambda result, error: ends.put(error))
        for _ in arrivals:
            if error := ends.get(timeout=_PATIENCE_S):
                raise error
        after = self._counted(before["requests"] + len(arrivals))
        return point(before, after, float(arrivals[-1]))

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


def measure(repository: Path, count: int) -> Iterator[tuple[str, list[Point]]]:
    """Yield every stage with its points."""
    with tempfile.TemporaryDirectory(prefix="cigpose-capacity-") as folder:
        configs = stages.simplify(repository, Path(folder) / "models")
        options = ServerOptions(Path(folder) / "models", grpc_port=free_port(), metrics_port=free_port())
        with (
            running_server(options, log=Path(folder) / "server.log") as running,
            tritonclient.grpc.InferenceServerClient(running.grpc_url) as client,
        ):
            for name, inputs in stages.requests(configs).items():
                metrics_url = f"http://127.0.0.1:{options.metrics_port}/metrics"
                yield name, Stage(name, inputs, client, metrics_url).measure(count)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a line each, write the results; return 1 when the formula is off at a load it is trusted for."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.capacity_check", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--repository", type=Path, required=True, help="of one pose network")
    parser.add_argument("--arrivals", type=int, default=500, help="for each load (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="file for the results (JSON)")
    options = parser.parse_args(argv)
    machine, found = describe(), {}
    for name, points in measure(options.repository, options.arrivals):
        found[name] = points
        for seen in points:
            print(f"{name:30} {json.dumps(asdict(seen))}", flush=True)
    if options.output:
        told = {name: [asdict(seen) for seen in points] for name, points in found.items()}
        result = {"machine": machine, "arrivals": options.arrivals, "stages": told}
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    missed = [*misses(found)]
    for miss in missed:
        print(f"FAILED {miss}", file=sys.stderr)
    return 1 if missed else 0


def misses(found: Mapping[str, Sequence[Point]]) -> Iterator[str]:
    """Yield where the formula is off at a load it is trusted for."""
    for name, points in found.items():
        trusted = [seen for seen in points if seen.load <= _TRUSTED_LOAD]
        for seen in trusted:
            if seen.error > _TOLERANCE:
                yield f"{name}: at a load of {seen.load} the formula is off by {seen.error:.0%}"
        if len(trusted) < 3:
            yield f"{name}: {len(trusted)} points up to a load of {_TRUSTED_LOAD} prove nothing; is the machine busy?"


if __name__ == "__main__":
    sys.exit(main())
