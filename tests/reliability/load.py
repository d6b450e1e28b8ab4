"""Callers that send pictures in a loop and keep an account of every answer."""

import contextlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from tests.triton import call

NAMES = ("bboxes", "bbox_scores", "keypoints", "keypoint_scores", "persons_detected")


@dataclass
class Account:
    """Answers by kind ("right", "wrong" or a gRPC status), and when each call ended and how long it took."""

    calls: list = field(default_factory=list)  # (ended, seconds, kind), clock of time.monotonic

    def kinds(self, since=0.0, until=float("inf")):
        return Counter(kind for ended, _, kind in list(self.calls) if since <= ended < until)

    def right_since(self, moment):
        """Return whether a call that began after `moment` was answered, and answered right."""
        return any(kind == "right" and ended - seconds > moment for ended, seconds, kind in list(self.calls))


def expected_answers(alone, pictures):
    return [dict(zip(NAMES, alone.estimate(picture), strict=True)) for picture in pictures]


def ask(server, encoded, expected, model="pose"):
    """Return "right", "wrong", or the status of the failure."""
    try:
        answer = call(server, model, encoded)
    except Exception as error:  # whatever it is, it is an answer that a caller would get
        status = getattr(error, "status", lambda: None)()
        return (status or repr(error)).removeprefix("StatusCode.")
    same = all(np.array_equal(answer[name], np.asarray(expected[name]).reshape(answer[name].shape)) for name in NAMES)
    return "right" if same else "wrong"


@contextlib.contextmanager
def load(server, pictures, expected, callers=4, pause_s=0.05):
    """Keep `callers` callers busy during the block; yields their common account."""
    account, done = Account(), threading.Event()

    def work(number):
        while not done.is_set():
            which = number % len(pictures)
            started = time.monotonic()
            kind = ask(server, pictures[which], expected[which])
            ended = time.monotonic()
            account.calls.append((ended, ended - started, kind))
            number += callers
            done.wait(pause_s)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield account
    finally:
        done.set()
        for thread in threads:
            thread.join()
