"""64 concurrent callers with good and bad requests: every answer belongs to its picture, none is lost or late."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.pictures import encode, picture_with_persons
from tests.triton import call

pytestmark = pytest.mark.server

CALLERS, REQUESTS, DEADLINE_S = 64, 2000, 60


def test_2000_requests_of_64_callers(server, alone):
    pictures = [
        encode(picture_with_persons([(4 * i + 3, 5 * i + 3) for i in range(n % 5)], seed=n, size=208))
        for n in range(24)
    ]
    bad = [b"", b"no picture", pictures[1][:-500]]
    expected = [alone.estimate(picture) for picture in pictures]

    def one(number):
        started = time.monotonic()
        if number % 7 == 0:
            answer = call(server, "pose", bad[number % 3], error=True)
        else:
            answer = call(server, "pose", pictures[number % len(pictures)])
        return answer, time.monotonic() - started

    with ThreadPoolExecutor(CALLERS) as pool:
        answers = list(pool.map(one, range(REQUESTS)))
    assert len(answers) == REQUESTS
    for number, (answer, seconds) in enumerate(answers):
        assert seconds < DEADLINE_S
        if number % 7 == 0:
            assert answer.status() == "StatusCode.INVALID_ARGUMENT"
            continue
        bboxes, scores, keypoints, keypoint_scores, _ = expected[number % len(pictures)]
        np.testing.assert_array_equal(answer["bboxes"], bboxes)
        np.testing.assert_array_equal(answer["bbox_scores"], scores)
        np.testing.assert_array_equal(answer["keypoints"], keypoints)
        np.testing.assert_array_equal(answer["keypoint_scores"], keypoint_scores)
