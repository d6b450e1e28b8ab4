"""Ten times as many callers as the server can serve: it serves as many as ever, and tells the others at once."""

import os
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from cigpose_client import Overloaded, PoseClient, PoseClientError

from ensemble.triton.admission.steps import AdmitPicture
from tests.in_process import InProcess
from tests.reliability.footprint import Memory
from tests.reliability.launcher import launched
from tests.reliability.load import about, arrivals, ask, expected_answers, load, percentile, sustainable_rate
from tests.triton import counters

pytestmark = pytest.mark.server
DEADLINE_S = 30.0  # our client's default
FULL = "Exceeds maximum queue size"


@pytest.fixture(scope="module")
def overloaded(tritonserver, slow, crowded, tmp_path_factory):
    expected = expected_answers(InProcess(slow, "slow"), crowded)
    with launched(slow, tmp_path_factory.mktemp("launcher"), "--profile", "cpu") as server:
        yield server, crowded, expected


def usual_time(server, pictures, expected):
    """Return the 99th percentile of one caller's times."""
    with load(server, pictures, expected, callers=1, pause_s=0) as alone:
        time.sleep(3)
    return percentile([took for _, took, _ in alone.calls], 99)


def recovery(server, picture, expected, usual_s, spike_ended):
    """Return how long after the spike an answer takes at most twice what it did before, and how many tries it took."""
    tries = 0
    while time.monotonic() < spike_ended + 60:
        began, tries = time.monotonic(), tries + 1
        assert ask(server, picture, expected) == "right"
        if time.monotonic() - began < 2 * usual_s:
            return time.monotonic() - spike_ended, tries
    pytest.fail("it never recovered")


# The short run is for machines that others use, too: their speed changes from second to second.
@pytest.mark.parametrize("seconds", [10, pytest.param(60, marks=pytest.mark.slow)])
def test_ten_times_the_sustainable_rate(overloaded, record, seconds):
    server, pictures, expected = overloaded
    before_per_s = sustainable_rate(server, pictures, expected, 6)
    usual_s = usual_time(server, pictures, expected)
    executed = counters(server, "nv_inference_request_success")

    questions = [about(*pair) for pair in zip(pictures, expected, strict=True)]
    sender_s = time.process_time()
    with Memory(server.tritonserver()) as memory:
        spike = arrivals(server, questions, 10 * before_per_s, seconds, DEADLINE_S)
    sent = [ended - took for ended, took, _ in spike.calls]
    sender_s = time.process_time() - sender_s
    recovered_s, tries = recovery(server, pictures[0], expected[0], usual_s, max(sent))
    executed = {
        name: count - executed[name] for name, count in counters(server, "nv_inference_request_success").items()
    }
    after_per_s = sustainable_rate(server, pictures, expected, 6)

    answers = [(ended, took) for ended, took, kind in spike.calls if kind == "right"]
    refusals = [took for _, took, kind in spike.calls if FULL in kind]
    wrong = [kind for _, _, kind in spike.calls if kind != "right" and FULL not in kind]
    per_s = sum(ended < max(sent) for ended, _ in answers) / (max(sent) - min(sent))
    sender_share = sender_s / (os.cpu_count() * (max(sent) - min(sent)))  # elsewhere it has a machine of its own
    plain_share = per_s / np.mean([before_per_s, after_per_s])
    share = plain_share / (1 - sender_share)
    figures = {
        "offered_per_s": len(sent) / (max(sent) - min(sent)),
        "answered_per_s": per_s,
        "sustainable_per_s": [before_per_s, after_per_s],
        "sender_share": sender_share,
        "goodput_share": share,
        "answer_p99_s": percentile([took for _, took in answers], 99),
        "refusal_p99_s": percentile(refusals, 99),
        "memory_mb": [memory.before_mb, memory.peak_mb],
    }
    refused = f"{len(refusals)} refused, within {figures['refusal_p99_s']:.2f} s"
    note = f"{refused}; goodput {share:.2f} of what the sender leaves, {plain_share:.2f} of all"
    fault = f"10 times the sustainable rate for {seconds} s"
    record(f"overload-{seconds}", fault=fault, tries=len(sent), wrong=len(wrong), lost=0, recovery_s=recovered_s,
           note=note, figures=figures)  # fmt: skip

    assert not wrong, set(wrong)
    assert len(refusals) > len(sent) / 2, "this was no overload"
    canaries = 2 + (max(sent) - min(sent) + recovered_s) / 3
    assert executed["decode_image"] <= len(answers) + tries + canaries, "a picture was decoded and then refused"
    assert figures["answer_p99_s"] < DEADLINE_S
    assert memory.peak_mb < memory.before_mb + 200
    if seconds == 60:
        assert share > 0.9, figures
        assert figures["refusal_p99_s"] < 1.0, figures
        admitted_s = (AdmitPicture.max_waiting + AdmitPicture.max_in_flight) / min(
            before_per_s, after_per_s
        )  # what was let in is answered first
        assert recovered_s < max(5, 1.5 * admitted_s), figures  # machines change their pace within a minute
    assert not server.is_red() and "broken" not in server.log.read_text(), "overload is not death"


@pytest.mark.slow
def test_callers_with_deadlines_shorter_than_the_queue_are_served(overloaded, record):
    """As our client asks: half of the deadline may pass in the queue."""
    server, pictures, expected = overloaded
    sustainable_per_s = sustainable_rate(server, pictures, expected, 6)
    deadline_s = 3 * AdmitPicture.max_in_flight / sustainable_per_s
    assert deadline_s < AdmitPicture.max_waiting / sustainable_per_s
    options = {"timeout": int(deadline_s / 2 * 1e6)}
    questions = [replace(about(*pair), options=options) for pair in zip(pictures, expected, strict=True)]
    spike = arrivals(server, questions, 5 * sustainable_per_s, 30, deadline_s)
    sent = [ended - took for ended, took, _ in spike.calls]
    right = spike.kinds()["right"]
    share = right / (max(sent) - min(sent)) / sustainable_per_s
    note = f"deadline {deadline_s:.1f} s; goodput {share:.2f} of the sustainable rate"
    record("overload-short-deadlines", fault="5 times the sustainable rate, deadlines shorter than the queue",
           tries=len(sent), lost=0, wrong=spike.kinds()["wrong"], note=note)  # fmt: skip
    assert not spike.kinds()["wrong"]
    assert share > 0.7, spike.kinds()


def test_our_client_calls_it_overloaded(overloaded):
    server, pictures, _ = overloaded
    failures = []

    def call():
        with PoseClient(server.grpc_url, retry=None) as client:
            try:
                client.estimate(pictures[0])
            except PoseClientError as error:
                failures.append(type(error))

    threads = [
        threading.Thread(target=call) for _ in range(2 * (AdmitPicture.max_waiting + AdmitPicture.max_in_flight))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(failures) == {Overloaded}
