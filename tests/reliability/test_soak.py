"""A mix of everything at 80 % of what the server sustains, for as long as SOAK_MINUTES says (`make soak`: 30).

What it sustains is measured anew for each sixth of the time: a load that stays the same while the machine changes its
pace is not 80 %. Whether the server became slower is told by a fresh one: at the end, both get half of the load, the
same requests at the same moments.
"""

import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

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


def p99_ms(account):
    return 1e3 * percentile([took for _, took, _ in account.calls], 99)


@pytest.mark.skipif(not MINUTES, reason="as long as SOAK_MINUTES says; `make soak`")
def test_a_long_run_at_80_percent_leaves_no_trace(tritonserver, repository, mix, crowded, alone, tmp_path, record):
    expected = expected_answers(alone, crowded)

    def load(minutes, *servers):
        """Share 80 % of what the last server sustains among them; return an account of each."""
        rate = 0.8 / len(servers) * sustainable_rate(servers[-1], crowded, expected, 20)
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda server: arrivals(server, mix, rate, 60 * minutes, 30), servers))

    with launched(repository, tmp_path, "--profile", "cpu") as server:
        load(MINUTES / 20, server)  # buffers and arenas reach their size
        before, memory_mb = footprint(server.tritonserver())
        sixths = [load(MINUTES / 6, server)[0] for _ in range(6)]
        time.sleep(5)  # for what is handed back late
        after, memory_after_mb = footprint(server.tritonserver())
        with launched(repository, tmp_path, "--profile", "cpu") as fresh:
            load(MINUTES / 20, fresh)
            p99s_ms = [p99_ms(account) for account in load(MINUTES / 6, server, fresh)]
        kinds = sum((account.kinds() for account in sixths), Counter())
        tries, wrong = kinds.total(), kinds.pop("wrong", 0)
        refused = sum(count for kind, count in kinds.items() if "Exceeds maximum queue size" in kind)
        lost = kinds.total() - kinds["right"] - refused
        rates = ", ".join(f"{len(account.calls) / (10 * MINUTES):.0f}" for account in sixths)
        note = (
            f"by sixths of the time {rates} a second, p99 {', '.join(f'{p99_ms(it):.0f}' for it in sixths)} ms; then "
            f"{p99s_ms[0]:.0f} ms beside {p99s_ms[1]:.0f} of a fresh server; {refused} refused; "
            f"memory {memory_mb:.0f} MB, then {memory_after_mb:.0f} MB"
        )
        record("soak", fault=f"{MINUTES:g} minutes at 80 % load", tries=tries, lost=lost, wrong=wrong, note=note)
        assert not wrong and not lost, kinds
        assert refused <= tries / 1000, "a machine that stands still for a second fills the queue"
        assert after["processes"] == before["processes"] and after["regions"] == before["regions"]
        assert after["files"] <= before["files"] + 4
        assert memory_after_mb < 1.05 * memory_mb + 20
        assert p99s_ms[0] < 1.1 * p99s_ms[1] + 2
        assert not server.is_red() and "broken" not in server.log.read_text()
        assert ask(server, crowded[0], expected[0]) == "right"
