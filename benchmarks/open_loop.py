"""Requests on schedule, whether or not answers have come: only so does queueing show."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.closed_loop import Call

_UNDER_WAY = 256  # more than a sustained load ever keeps


def poisson(rate_per_s: float, duration_s: float, seed: int = 0) -> list[float]:
    """Return arrival times in seconds: independent callers, `rate_per_s` of them on average."""
    random = np.random.default_rng(seed)
    return sorted(random.uniform(0, duration_s, random.poisson(rate_per_s * duration_s)).tolist())


def play(call: Call, pictures: Sequence[bytes], arrivals: Sequence[float]) -> list[float]:
    """Send a picture at each arrival and return how long after it each answer came, in seconds.

    Args:
        call: sends one picture; called from many threads.
        pictures: sent round and round.
        arrivals: seconds from the start, in order.
    """
    started = time.perf_counter()

    def request(picture: bytes, due: float) -> float:
        call(picture)
        return time.perf_counter() - started - due

    with ThreadPoolExecutor(_UNDER_WAY) as pool:
        futures = []
        for number, due in enumerate(arrivals):
            time.sleep(max(0.0, started + due - time.perf_counter()))
            futures.append(pool.submit(request, pictures[number % len(pictures)], due))
        return [future.result() for future in futures]
