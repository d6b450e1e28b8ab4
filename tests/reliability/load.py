"""Load generators that record every answer: closed loops and an open loop."""

import contextlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from tests.triton import arrays, call, image_input

NAMES = ("bboxes", "bbox_scores", "keypoints", "keypoint_scores", "persons_detected")


@dataclass
class Account:
    """Record of calls: when each ended, how long it took, and its kind ("right", "wrong" or a gRPC status)."""

    calls: list = field(default_factory=list)  # (ended, seconds, kind), clock of time.monotonic

    def kinds(self, since=0.0, until=float("inf")):
        return Counter(kind for ended, _, kind in list(self.calls) if since <= ended < until)

    def right_since(self, moment):
        """Return whether a call that began after `moment` got a right answer."""
        return any(kind == "right" and ended - seconds > moment for ended, seconds, kind in list(self.calls))


def expected_answers(alone, pictures):
    return [dict(zip(NAMES, alone.estimate(picture), strict=True)) for picture in pictures]


def ask(server, encoded, expected, model="pose", bboxes=None, newer=None):
    """Return "right", "newer" for the answer `newer`, "wrong", or the status of the failure."""
    try:
        answer = call(server, model, encoded, bboxes)
    except Exception as error:  # every failure counts as an answer to the caller
        status = getattr(error, "status", lambda: None)()
        return (status or repr(error)).removeprefix("StatusCode.")
    return "newer" if newer and judge(answer, newer) == "right" else judge(answer, expected)


def judge(answer, expected):
    same = (np.array_equal(answer[name], np.reshape(array, answer[name].shape)) for name, array in expected.items())
    return "right" if all(same) else "wrong"


def load(server, pictures, expected, callers=4, pause_s=0.05, newer=None):
    """Run `callers` closed loops over these pictures during the block; yield their common account."""
    pairs = zip(pictures, expected, newer or [None] * len(pictures), strict=True)
    questions = [partial(ask, server, picture, answer, newer=other) for picture, answer, other in pairs]
    return keep_asking(questions, callers, pause_s)


@contextlib.contextmanager
def keep_asking(questions, callers=1, pause_s=0.05):
    """Call `questions`, which return the kind of their answers, in turn during the block; yield the account."""
    account, done = Account(), threading.Event()

    def work(number):
        while not done.is_set():
            started = time.monotonic()
            kind = questions[number % len(questions)]()
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


@dataclass(frozen=True)
class Question:
    """One request of an open loop, and the function that judges its answer or error."""

    model: str
    inputs: list
    judge: Callable
    options: dict = field(default_factory=dict)


def about(picture, expected):
    """Return the question for the people in a picture."""
    return Question("pose", [image_input(picture)], same_as(expected))


def same_as(expected):
    def judged(result, error):
        return error.message() if error else judge(arrays(result), expected)

    return judged


def put(server, question, deadline_s):
    """Ask once; return the kind of the answer."""
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        try:
            result = client.infer(question.model, question.inputs, client_timeout=deadline_s, **question.options)
        except InferenceServerException as error:
            return question.judge(None, error)
    return question.judge(result, None)


def arrivals(server, questions, rate, seconds, deadline_s, seed=0, then=lambda: None):
    """Ask in turn, at random moments, `rate` times a second on average, whatever becomes of it; return the account.

    `then` is called as soon as the last request is sent. All requests have ended when this returns.
    """
    account, chance = Account(), np.random.default_rng(seed)
    moments = np.cumsum(chance.exponential(1 / rate, int(rate * seconds))).tolist()
    left = threading.Semaphore(0)

    def send(client, question, sent):
        def note(result, error):
            ended = time.monotonic()
            account.calls.append((ended, ended - sent, question.judge(result, error)))
            left.release()

        try:
            client.async_infer(question.model, question.inputs, note, client_timeout=deadline_s, **question.options)
        except InferenceServerException as error:
            note(None, error)

    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        started = time.monotonic()
        for moment, question in zip(moments, itertools.cycle(questions)):
            time.sleep(max(0.0, started + moment - time.monotonic()))
            send(client, question, time.monotonic())
        then()
        for _ in moments:
            assert left.acquire(timeout=deadline_s + 30)
    return account


def percentile(seconds, percent):
    return float(np.percentile(seconds, percent)) if len(seconds) else 0.0


def sustainable_rate(server, pictures, expected, seconds, callers=16, warm_up_s=2):
    """Return how many right answers a second a closed loop gets after its warm-up."""
    with load(server, pictures, expected, callers=callers, pause_s=0) as busy:
        time.sleep(warm_up_s + seconds)
        until = time.monotonic()
    return busy.kinds(until - seconds, until)["right"] / seconds
