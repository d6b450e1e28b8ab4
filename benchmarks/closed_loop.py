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
        people: found in the pictures that count.
        people_per_picture: of all pictures, the ramp's too.
        latencies_s: of every request that counts.
        duration_s: in which these were answered.
    """

    pictures_per_s: float
    people: int
    people_per_picture: float
    latencies_s: list[float]
    duration_s: float

    @property
    def people_per_s(self) -> float:
        """Return the people found a second."""
        return self.people / self.duration_s

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the latencies in milliseconds."""
        return float(np.percentile(self.latencies_s, percent) * 1000)


def drive(make_call: Callable[[], Call], pictures: Sequence[bytes], callers: int, requests: int, ramp: int = 0) -> Load:
    """Send pictures in turn from `callers` threads, and measure `requests` of them.

    Args:
        make_call: called once in each thread; returns what sends one picture and returns the number of people.
        pictures: sent round and round.
        callers: threads.
        requests: that count.
        ramp: further requests before these and as many after them, which do not count. As many as there are callers,
            and all of them are busy all the time that is measured: throughput at saturation.
    """
    numbers, answers = itertools.count(), list[tuple[float, float, int]]()  # ended, took, people
    sent = requests + 2 * ramp
    ready = threading.Barrier(callers + 1)

    def work() -> None:
        call = make_call()
        ready.wait()
        while (number := next(numbers)) < sent:
            started = time.perf_counter()
            people = call(pictures[number % len(pictures)])
            ended = time.perf_counter()
            answers.append((ended, ended - started, people))

    threads = [threading.Thread(target=work) for _ in range(callers)]
    for thread in threads:
        thread.start()
    ready.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    if len(answers) != sent:
        raise RuntimeError(f"{sent - len(answers)} of {sent} requests failed")
    answers.sort()
    counted = answers[ramp : ramp + requests]
    seconds = counted[-1][0] - (answers[ramp - 1][0] if ramp else started)
    people = sum(it[2] for it in counted)
    mean = sum(it[2] for it in answers) / sent
    return Load(requests / seconds, people, mean, [it[1] for it in counted], seconds)
