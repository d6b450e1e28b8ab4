"""Open-loop load: requests on schedule regardless of answers, so that queueing shows."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.closed_loop import Call

_IN_FLIGHT = 256  # largest number of concurrent requests, more than a sustainable load reaches


def poisson(rate_per_s: float, duration_s: float, seed: int = 0) -> list[float]:
    """Return the arrival times of independent callers in seconds, `rate_per_s` of them per second on average."""
    random = np.random.default_rng(seed)
    return sorted(random.uniform(0, duration_s, random.poisson(rate_per_s * duration_s)).tolist())


def play(call: Call, pictures: Sequence[bytes], arrivals: Sequence[float]) -> list[float]:
    """Send a picture at each arrival time. Return the time from each arrival to its answer, in seconds.

    Args:
        call: sends one picture; called from many threads.
        pictures: encoded pictures, sent in a cycle.
        arrivals: seconds from the start, in ascending order.
    """
    started = time.perf_counter()

    def request(picture: bytes, due: float) -> float:
        call(picture)
        return time.perf_counter() - started - due

    with ThreadPoolExecutor(_IN_FLIGHT) as pool:
        futures = []
        for number, due in enumerate(arrivals):
            time.sleep(max(0.0, started + due - time.perf_counter()))
            futures.append(pool.submit(request, pictures[number % len(pictures)], due))
        return [future.result() for future in futures]
