"""Nobody works for callers who have gone: counted by what the steps executed."""

import contextlib
import os
import signal
import threading
import time

import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from ensemble.graph.steps import MAX_IN_FLIGHT
from server import stubs
from tests.in_process import InProcess
from tests.reliability.load import ask, expected_answers
from tests.triton import image_input

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def server(serve, slow):
    with serve(slow) as running:
        yield running


@pytest.fixture(scope="module")
def right(slow, crowded):
    """Return a function that asks until the answer is right, and fails when it is wrong or takes long."""
    (expected,) = expected_answers(InProcess(slow, "slow"), crowded[:1])

    def check(server):
        started = time.monotonic()
        assert ask(server, crowded[0], expected) == "right"
        assert time.monotonic() - started < 5

    return check


@contextlib.contextmanager
def stopped(server, model):
    """Keep a model's processes from doing anything during the block."""
    found = [stub for stub, of in stubs.stubs_of(server.process.pid).items() if of == model]
    assert found
    for stub in found:
        os.kill(stub, signal.SIGSTOP)
    try:
        yield
    finally:
        for stub in found:
            os.kill(stub, signal.SIGCONT)


def settled(server):
    """Return how many requests each model has answered, when that stands still."""
    before = server.control.executions()
    while True:
        time.sleep(0.5)
        now = server.control.executions()
        if now == before:
            return now
        before = now


class Crowd:
    """Requests on their way, and how each ended: "" for an answer, else the message of the failure."""

    def __init__(self, client, picture):
        self._client, self._inputs = client, [image_input(picture)]
        self._sent, self._left, self.ends = 0, threading.Semaphore(0), []

    def send(self, count, **options):
        for _ in range(count):
            self._client.async_infer("pose", self._inputs, self._note, **options)
        self._sent += count

    def _note(self, result, error):
        self.ends.append(error.message() if error else "")
        self._left.release()

    def wait(self):
        for _ in range(self._sent):
            assert self._left.acquire(timeout=60)
        return self.ends


@pytest.mark.parametrize(
    ("waiting_at", "not_executed"),
    [
        ("admit_picture", ["decode_image", "detector", "slow"]),
        ("decode_image", ["detector", "select_persons", "slow"]),
        ("detector", ["select_persons", "crop_persons", "slow"]),
        ("select_persons", ["crop_persons", "slow"]),
        ("crop_persons", ["slow", "decode_simcc"]),
        ("slow", ["decode_simcc"]),
    ],
)
def test_a_caller_who_hangs_up_costs_no_further_step(server, crowded, right, waiting_at, not_executed):
    right(server)
    before = settled(server)
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client, stopped(server, waiting_at):
        with pytest.raises(InferenceServerException, match="Deadline Exceeded"):
            client.infer("pose", [image_input(crowded[0])], client_timeout=1)
        time.sleep(0.2)  # for the news to reach the server
    after = settled(server)
    assert {name: after[name] - before[name] for name in not_executed} == dict.fromkeys(not_executed, 0)
    right(server)


def test_of_a_crowd_that_hangs_up_only_those_on_their_way_are_computed(server, crowded, right):
    right(server)
    before = settled(server)
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        crowd = Crowd(client, crowded[0])
        crowd.send(90, client_timeout=0.5)
        answered = crowd.wait().count("")
        right(server)  # at once: those in the queue are thrown away, not decoded
    after = settled(server)
    for step in ("decode_image", "slow"):
        assert after[step] - before[step] <= answered + MAX_IN_FLIGHT + 1, step


def test_a_request_whose_own_timeout_has_passed_is_not_computed(server, crowded, right):
    right(server)
    before = settled(server)
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        crowd = Crowd(client, crowded[0])
        crowd.send(60)
        time.sleep(0.3)
        crowd.send(5, timeout=100_000)  # microseconds in the queue
        ends = crowd.wait()
    assert ends.count("") == 60
    assert sum("Request timeout expired" in end for end in ends) == 5
    after = settled(server)
    assert after["admit_picture"] - before["admit_picture"] == 60
