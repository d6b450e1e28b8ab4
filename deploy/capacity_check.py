"""`python -m deploy.capacity_check`: the queueing formula against a server's own counters, at several loads.

Arrivals are scheduled (Poisson, open loop): callers that wait for an answer before they ask again would hide the queue.
Large pictures make `decode_image`, which never batches, the slowest stage; its profile here has one instance.
"""

import argparse
import json
import re
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from cigpose_client import PoseClient

from deploy.capacity import waiting_ms
from server.process import ServerOptions, free_port, running_server

_STAGE = "decode_image"
_LOADS = (0.2, 0.4, 0.6, 0.75)
_WARM_UP = 10
_TRUSTED_LOAD = 0.8
_TOLERANCE = 0.3


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


def point(before: dict[str, float], after: dict[str, float], duration_s: float) -> Point:
    """Return a point from the counters before and after it."""
    requests, queue_us, compute_us = (after[name] - before[name] for name in ("requests", "queue_us", "compute_us"))
    rate, service_ms = requests / duration_s, compute_us / requests / 1e3
    load = rate * service_ms / 1e3
    formula = waiting_ms(service_ms, min(load, 0.99))
    return Point(*(round(value, 3) for value in (rate, service_ms, load, queue_us / requests / 1e3, formula)))


def counters(url: str) -> dict[str, float]:
    """Return the stage's counters."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()

    def read(name: str) -> float:
        return sum(float(value) for value in re.findall(rf'^{name}{{model="{_STAGE}",.*}} (\S+)$', text, re.M))

    compute = sum(read(f"nv_inference_compute_{part}_duration_us") for part in ("input", "infer", "output"))
    queue = read("nv_inference_queue_duration_us")
    return {"requests": read("nv_inference_request_success"), "queue_us": queue, "compute_us": compute}


def measure(client: PoseClient, metrics_url: str, picture: bytes, duration_s: float, seed: int = 0) -> list[Point]:
    """Return one point for each load."""
    generator, points = np.random.default_rng(seed), []
    with ThreadPoolExecutor(64) as pool:
        _warm_up(client, picture)
        before = counters(metrics_url)
        _warm_up(client, picture)
        alone = point(before, counters(metrics_url), 1.0)
        for load in _LOADS:
            rate = load / alone.service_ms * 1e3
            times = np.cumsum(generator.exponential(1 / rate, int(rate * duration_s)))
            before, started = counters(metrics_url), time.perf_counter()
            futures = []
            for arrival in times:
                time.sleep(max(0.0, started + arrival - time.perf_counter()))
                futures.append(pool.submit(client.detect, picture))
            for future in futures:
                future.result()
            points.append(point(before, counters(metrics_url), float(times[-1])))
    return points


def _warm_up(client: PoseClient, picture: bytes) -> None:
    for _ in range(_WARM_UP):
        client.detect(picture)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a line each, write the results; return 1 when the formula is off at a load it is trusted for."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.capacity_check", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=30, help="for each load (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="file for the results (JSON)")
    options = parser.parse_args(argv)
    noise = np.random.default_rng(0).integers(0, 255, (300, 450, 3), np.uint8)
    picture = cv2.imencode(".jpg", cv2.resize(noise, (1800, 1200)))[1].tobytes()
    server = ServerOptions(options.repository, grpc_port=free_port(), metrics_port=free_port())
    with running_server(server, log=None) as running, PoseClient(running.grpc_url, timeout_s=60) as client:
        points = measure(client, f"http://127.0.0.1:{server.metrics_port}/metrics", picture, options.seconds)
    for found in points:
        print(json.dumps(asdict(found)))
    if options.output:
        options.output.write_text(json.dumps([asdict(found) for found in points], indent=2) + "\n", encoding="utf-8")
    missed = [*misses(points)]
    for miss in missed:
        print(f"FAILED {miss}", file=sys.stderr)
    return 1 if missed else 0


def misses(points: Sequence[Point]) -> Iterator[str]:
    """Yield where the formula is off at a load it is trusted for."""
    trusted = [found for found in points if found.load <= _TRUSTED_LOAD]
    for found in trusted:
        if found.error > _TOLERANCE:
            yield f"at a load of {found.load} the formula is off by {found.error:.0%}"
    if len(trusted) < 2:
        yield f"{len(trusted)} points up to a load of {_TRUSTED_LOAD} prove nothing; is the machine busy otherwise?"


if __name__ == "__main__":
    sys.exit(main())
