"""Closed-loop load: each caller sends its next request when it has received the answer to the last one."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Call = Callable[[bytes], int]  # encoded picture -> number of people found


@dataclass(frozen=True)
class Load:
    """The result of a closed loop. The requests of the ramp do not count, except where stated.

    Attributes:
        pictures_per_s: throughput.
        people_per_picture: mean number of people found, over all pictures, those of the ramp included.
        latencies_s: latency of every request.
    """

    pictures_per_s: float
    people_per_picture: float
    latencies_s: list[float]

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the latencies in milliseconds."""
        return float(np.percentile(self.latencies_s, percent) * 1000)


def drive(make_call: Callable[[], Call], pictures: Sequence[bytes], callers: int, requests: int, ramp: int = 0) -> Load:
    """Send pictures in turn from `callers` threads, and measure `requests` of them.

    Args:
        make_call: called once in each thread; returns the function that sends one picture.
        pictures: encoded pictures, sent in a cycle.
        callers: number of threads.
        requests: number of requests that count.
        ramp: number of additional requests before these, and of as many after them. With a ramp of `callers` or more,
            every caller is busy during the measurement: the throughput is that at saturation.
    """
    numbers, answers = itertools.count(), list[tuple[float, float, int]]()  # time of the end, latency, people
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
    people_per_picture = sum(people for _, _, people in answers) / sent
    return Load(requests / seconds, people_per_picture, [latency for _, latency, _ in counted])
