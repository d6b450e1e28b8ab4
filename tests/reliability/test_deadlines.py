"""Abandoned requests are not computed, by the numbers of requests that the steps executed."""

import contextlib
import queue
import shutil
import threading
import time

import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from ensemble.triton.admission.steps import AdmitPicture
from tests.in_process import InProcess
from tests.reliability.load import ask, expected_answers
from tests.triton import counters, image_input

pytestmark = pytest.mark.server


LATE = """

import pathlib, time
_answer = TritonPythonModel._answer

def _answer_late(self, *arguments):
    time.sleep(float(pathlib.Path("{file}").read_text()))
    return _answer(self, *arguments)

TritonPythonModel._answer = _answer_late
"""
STEPS = ("admit_picture", "await_turn", "decode_image", "select_persons", "crop_persons", "decode_simcc")


@pytest.fixture(scope="module")
def delays(tmp_path_factory):
    """A folder with a file for each step: how many seconds it waits before it works."""
    folder = tmp_path_factory.mktemp("delays")
    for step in STEPS:
        (folder / step).write_text("0")
    return folder


@pytest.fixture(scope="module")
def server(serve, slow, delays, tmp_path_factory):
    repository = shutil.copytree(slow, tmp_path_factory.mktemp("late") / "repository")
    for step in STEPS:
        with (repository / step / "1" / "model.py").open("a") as file:
            file.write(LATE.format(file=delays / step))
    with serve(repository, metrics=True) as running:
        yield running


@contextlib.contextmanager
def late(delays, step, seconds):
    (delays / step).write_text(str(seconds))
    try:
        yield
    finally:
        (delays / step).write_text("0")


@pytest.fixture(scope="module")
def right(slow, crowded):
    """Return a function that fails when the server does not answer right; a full queue may empty first."""
    (expected,) = expected_answers(InProcess(slow, "slow"), crowded[:1])

    def check(server):
        give_up = time.monotonic() + 60
        while (answer := ask(server, crowded[0], expected)) == "UNAVAILABLE" and time.monotonic() < give_up:
            time.sleep(0.1)
        assert answer == "right"

    return check


def work(server):
    """Return how much each step has really done, when that stands still, in the order of the graph.

    Triton counts a step that only says "the caller has hung up" as executed, so our own counters tell of those.
    """

    def read():
        executed = server.control.executions()
        ours = {
            "decode_image": "cigpose_pictures_total",
            "select_persons": "cigpose_persons_detected_total",
            "crop_persons": "cigpose_crops_total",
        }
        return {
            "admit_picture": executed["admit_picture"],
            **{step: sum(counters(server, name).values()) for step, name in ours.items()},
            "slow": executed["slow"],
        }

    before = read()
    while (now := read()) != before:
        before = now
    return now


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


def expire(client, inputs):
    with pytest.raises(InferenceServerException, match="Deadline Exceeded"):
        client.infer("pose", inputs, client_timeout=1)


def cancel(client, inputs):
    ends = queue.SimpleQueue()
    call = client.async_infer("pose", inputs, lambda result, error: ends.put(error))
    time.sleep(1)
    call.cancel()
    assert "cancelled" in str(ends.get(timeout=5)).lower()


@pytest.mark.parametrize(
    ("left_during", "leave"),
    [
        ("admit_picture", expire),
        ("await_turn", expire),
        ("decode_image", expire),
        ("decode_image", cancel),
        ("select_persons", expire),
        ("crop_persons", expire),
        ("crop_persons", cancel),
    ],
)
def test_a_caller_that_hangs_up_costs_no_further_step(server, delays, crowded, right, left_during, leave):
    right(server)
    before = work(server)
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client, late(delays, left_during, 3):
        leave(client, [image_input(crowded[0])])
        time.sleep(3)
    after = work(server)
    done = {step: after[step] - before[step] for step in before}
    steps = list(before)
    begun = steps.index("admit_picture" if left_during == "await_turn" else left_during)  # no work of its own
    assert {step: bool(count) for step, count in done.items()} == {step: steps.index(step) <= begun for step in steps}
    right(server)


def test_of_callers_that_hang_up_only_running_requests_are_computed(server, crowded, right):
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        before = work(server)
        crowd = Crowd(client, crowded[0])
        crowd.send(90, client_timeout=0.5)
        answered = crowd.wait().count("")
        right(server)
    after = work(server)
    assert after["decode_image"] - before["decode_image"] <= answered + AdmitPicture.max_in_flight + 1
    assert after["slow"] - before["slow"] <= answered + AdmitPicture.max_in_flight + 1


def test_a_request_whose_own_timeout_has_passed_is_not_computed(server, crowded, right):
    right(server)
    before = work(server)
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        crowd = Crowd(client, crowded[0])
        crowd.send(60)
        time.sleep(0.3)
        crowd.send(5, timeout=100_000)  # microseconds in the queue
        ends = crowd.wait()
    assert ends.count("") == 60
    assert sum("Request timeout expired" in end for end in ends) == 5
    after = work(server)
    assert after["decode_image"] - before["decode_image"] == 60
