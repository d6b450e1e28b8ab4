"""Callers that each send the next request when they have the answer to the last."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Call = Callable[[bytes], int]  # encoded picture -> people found


@dataclass(frozen=True)
class Load:
    """What a closed loop measured.

    Attributes:
        pictures_per_s: throughput.
        people: found in all.
        latencies_s: of every request.
        duration_s: from the first request to the last answer.
    """

    pictures_per_s: float
    people: int
    latencies_s: list[float]
    duration_s: float

    @property
    def people_per_s(self) -> float:
        """Return the people found a second."""
        return self.people / self.duration_s

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the latencies in milliseconds."""
        return float(np.percentile(self.latencies_s, percent) * 1000)


def drive(make_call: Callable[[], Call], pictures: Sequence[bytes], callers: int, requests: int) -> Load:
    """Send `requests` pictures in turn from `callers` threads.

    Args:
        make_call: called once in each thread; returns what sends one picture and returns the number of people.
        pictures: sent round and round.
        callers: threads.
        requests: in all.
    """
    numbers, latencies, people = itertools.count(), [], []
    ready = threading.Barrier(callers + 1)

    def work() -> None:
        call = make_call()
        ready.wait()
        while (number := next(numbers)) < requests:
            started = time.perf_counter()
            people.append(call(pictures[number % len(pictures)]))
            latencies.append(time.perf_counter() - started)

    threads = [threading.Thread(target=work) for _ in range(callers)]
    for thread in threads:
        thread.start()
    ready.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    if len(latencies) != requests:
        raise RuntimeError(f"{requests - len(latencies)} of {requests} requests failed")
    return Load(requests / seconds, sum(people), latencies, seconds)
