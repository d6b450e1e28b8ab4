"""A mix of requests at 80 % of the sustainable rate, for SOAK_MINUTES minutes (`make soak`: 30).

The sustainable rate is measured again for each sixth of the time, because the machine's speed varies. At the end, a
fresh server shows whether the old one became slower. Both get the load in turns of five seconds, with the same requests
at the same moments of a turn. In one pair of turns, p99 of two fresh servers may differ by a quarter, so the test uses
the median over many pairs.
"""

import os
import time
from collections import Counter

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
TURN_S = 5


@pytest.fixture(scope="module")
def mix(alone, crowded, pictures):
    """24 requests: 16 pictures, 3 with given boxes, 2 for boxes only, 2 damaged pictures, 1 that is no picture."""
    every = [*pictures, *crowded]
    expected = expected_answers(alone, every)
    questions = [about(every[n % len(every)], expected[n % len(every)]) for n in range(16)]
    boxes = np.float32([[10, 10, 60, 90], [5, 5, 200, 190]])
    keypoints, scores = alone.estimate_boxes(every[3], boxes)
    given = {"keypoints": keypoints, "keypoint_scores": scores}
    questions += [Question("pose_from_boxes", [image_input(every[3]), boxes_input(boxes)], same_as(given))] * 3
    detected = {"bboxes": expected[3]["bboxes"]}
    questions += [Question("pose", [image_input(every[3])], same_as(detected), {"outputs": only("bboxes")})] * 2
    whole = encode(noise_picture(640, 480), ".jpg")
    bad = [whole[: len(whole) // 2], encode(noise_picture(200, 100))[:-100], b"no picture"]
    questions += [Question("pose", [image_input(encoded)], refused) for encoded in bad]
    assert len(questions) == CALLS_A_ROUND
    return [questions[7 * n % CALLS_A_ROUND] for n in range(CALLS_A_ROUND)]


def refused(result, error):
    return "right" if error is not None and error.status() == "StatusCode.INVALID_ARGUMENT" else str(error)


def p99_ms(account):
    return 1e3 * percentile([took for _, took, _ in account.calls], 99)


@pytest.mark.skipif(not MINUTES, reason="needs SOAK_MINUTES; run `make soak`")
def test_a_long_run_at_80_percent_load_leaks_nothing(tritonserver, repository, mix, crowded, alone, tmp_path, record):
    expected = expected_answers(alone, crowded)

    def eighty_percent(server):
        return 0.8 * sustainable_rate(server, crowded, expected, 20)

    def load(server, minutes):
        return arrivals(server, mix, eighty_percent(server), 60 * minutes, 30)

    def load_in_turns(servers, pairs):
        """Return the accounts of each pair of turns. The order of the servers alternates."""
        rate, accounts = eighty_percent(servers[-1]), []
        for pair in range(pairs):
            way = 1 if pair % 2 else -1
            turns = [arrivals(server, mix, rate, TURN_S, 30, seed=pair) for server in servers[::way]]
            accounts.append(turns[::way])
        return accounts

    with launched(repository, tmp_path, "--profile", "cpu") as server:
        load(server, MINUTES / 20)  # warm up: buffers and arenas reach their size
        before, memory_mb = footprint(server.tritonserver())
        sixths = [load(server, MINUTES / 6) for _ in range(6)]
        time.sleep(5)  # for resources that are released late
        after, memory_after_mb = footprint(server.tritonserver())
        with launched(repository, tmp_path, "--profile", "cpu") as fresh:
            load(fresh, MINUTES / 20)
            turns = load_in_turns([server, fresh], pairs=max(1, round(2 * MINUTES)))
        old_ms, fresh_ms = np.transpose([[p99_ms(account) for account in pair] for pair in turns])
        slower = np.median(old_ms / fresh_ms)
        kinds = sum((account.kinds() for account in sum(turns, sixths)), Counter())
        tries, wrong = kinds.total(), kinds.pop("wrong", 0)
        refused = sum(count for kind, count in kinds.items() if "Exceeds maximum queue size" in kind)
        lost = kinds.total() - kinds["right"] - refused
        rates = ", ".join(f"{len(account.calls) / (10 * MINUTES):.0f}" for account in sixths)
        p99s = ", ".join(f"{p99_ms(account):.0f}" for account in sixths)
        note = (
            f"by sixths of the time {rates} a second, p99 {p99s} ms; "
            f"then in {len(turns)} turns of {TURN_S} s {np.median(old_ms):.0f} ms, a fresh server "
            f"{np.median(fresh_ms):.0f} ms (medians; of the ratios {slower:.3f}); {refused} refused; "
            f"memory {memory_mb:.0f} MB, then {memory_after_mb:.0f} MB"
        )
        record("soak", fault=f"{MINUTES:g} minutes at 80 % load", tries=tries, lost=lost, wrong=wrong, note=note)
        assert not wrong and not lost, kinds
        assert refused <= tries / 1000, "a pause of the machine of one second fills the queue"
        assert after["processes"] == before["processes"] and after["regions"] == before["regions"]
        assert after["files"] <= before["files"] + 4
        assert memory_after_mb < 1.05 * memory_mb + 20
        assert slower < 1.1
        assert not server.is_red() and "broken" not in server.log.read_text()
        assert ask(server, crowded[0], expected[0]) == "right"
