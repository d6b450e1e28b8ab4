"""A mix of everything at 80 % of what the server sustains, for as long as SOAK_MINUTES says (`make soak`: 30)."""

import os
import time

import numpy as np
import pytest

from tests.pictures import encode, noise_picture
from tests.reliability.footprint import footprint
from tests.reliability.launcher import launched
from tests.reliability.load import (
    Question,
    about,
    arrivals,
    ask,
    expected_answers,
    percentile,
    same_as,
    sustainable_rate,
)
from tests.triton import boxes_input, image_input, only

MINUTES = float(os.environ.get("SOAK_MINUTES", "0"))
pytestmark = [pytest.mark.server, pytest.mark.slow]
CALLS_A_ROUND = 24


@pytest.fixture(scope="module")
def mix(alone, crowded, pictures):
    """Of 24 requests: 16 pictures, 3 with boxes given, 2 for boxes alone, 2 damaged, 1 that is no picture."""
    every = [*pictures, *crowded]
    expected = expected_answers(alone, every)
    questions = [about(every[n % len(every)], expected[n % len(every)]) for n in range(16)]
    boxes = np.float32([[10, 10, 60, 90], [5, 5, 200, 190]])
    keypoints, scores = alone.estimate_boxes(every[3], boxes)
    given = {"keypoints": keypoints, "keypoint_scores": scores}
    questions += [Question("pose_from_boxes", [image_input(every[3]), boxes_input(boxes)], same_as(given))] * 3
    found = {"bboxes": expected[3]["bboxes"]}
    questions += [Question("pose", [image_input(every[3])], same_as(found), {"outputs": only("bboxes")})] * 2
    whole = encode(noise_picture(640, 480), ".jpg")
    bad = [whole[: len(whole) // 2], encode(noise_picture(200, 100))[:-100], b"no picture"]
    questions += [Question("pose", [image_input(encoded)], refused) for encoded in bad]
    assert len(questions) == CALLS_A_ROUND
    return [questions[7 * n % CALLS_A_ROUND] for n in range(CALLS_A_ROUND)]


def refused(result, error):
    return "right" if error is not None and error.status() == "StatusCode.INVALID_ARGUMENT" else str(error)


@pytest.mark.skipif(not MINUTES, reason="as long as SOAK_MINUTES says; `make soak`")
def test_a_long_run_at_80_percent_leaves_no_trace(tritonserver, repository, mix, crowded, alone, tmp_path, record):
    expected = expected_answers(alone, crowded)
    with launched(repository, tmp_path, "--profile", "cpu") as server:
        rate = 0.8 * sustainable_rate(server, crowded, expected, 10)
        arrivals(server, mix, rate, 0.1 * 60 * MINUTES, 30, seed=1)  # buffers and arenas reach their size
        before, memory_mb = footprint(server.tritonserver())
        account = arrivals(server, mix, rate, 60 * MINUTES, 30)
        time.sleep(5)  # for what is handed back late
        after, memory_after_mb = footprint(server.tritonserver())
        sustained_after = sustainable_rate(server, crowded, expected, 10)  # tells whether the machine changed its pace
        begun = min(ended - took for ended, took, _ in account.calls)
        window_s = 60 * MINUTES / 6  # five minutes of thirty
        first = [took for ended, took, _ in account.calls if ended < begun + window_s]
        last = [took for ended, took, _ in account.calls if ended > begun + 60 * MINUTES - window_s]
        p99 = percentile(first, 99), percentile(last, 99)
        kinds = account.kinds()
        wrong = kinds.pop("wrong", 0)
        lost = kinds.total() - kinds["right"]
        note = (
            f"{rate:.0f} a second; p99 {1e3 * p99[0]:.0f} ms in the first sixth, {1e3 * p99[1]:.0f} ms in the last; "
            f"memory {memory_mb:.0f} MB, then {memory_after_mb:.0f} MB; "
            f"{rate / 0.8:.0f} a second sustained before, {sustained_after:.0f} after"
        )
        record("soak", fault=f"{MINUTES:g} minutes at 80 % load", tries=len(account.calls), lost=lost, wrong=wrong,
               note=note)  # fmt: skip
        assert not wrong and not lost, kinds
        assert after["processes"] == before["processes"] and after["regions"] == before["regions"]
        assert after["files"] <= before["files"] + 4
        assert memory_after_mb < 1.05 * memory_mb + 20
        assert p99[1] < 1.1 * p99[0] + 0.002
        assert not server.is_red() and "broken" not in server.log.read_text()
        assert ask(server, crowded[0], expected[0]) == "right"
