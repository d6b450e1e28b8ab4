"""Machine profiles answer alike: the same people, and keypoints that differ by the precision at most."""

import numpy as np
import pytest

from tests.pictures import encode, picture_with_persons
from tests.triton import call

pytestmark = pytest.mark.server


@pytest.mark.parametrize(
    ("profile", "tolerance"),
    [
        ("", 0.0),
        ("cpu-latency", 0.0),
        ("cpu-openvino", 1e-4),
        ("cpu-bf16", 5e-2),
        ("cpu-bf16-latency", 5e-2),
    ],  # of scores up to about 4: bfloat16 keeps 8 bits
)
def test_a_profile_answers_as_the_functions_do(serve, repository, alone, profile, tolerance):
    if tolerance:
        pytest.importorskip("openvino")
    encoded = encode(picture_with_persons([(5, 5), (20, 30), (40, 12)]))
    bboxes, scores, keypoints, keypoint_scores, _ = alone.estimate(encoded)
    with serve(repository, profile=profile) as server:
        answer = call(server, "pose", encoded)
    np.testing.assert_array_equal(answer["bboxes"], bboxes)
    np.testing.assert_array_equal(answer["bbox_scores"], scores)
    np.testing.assert_allclose(answer["keypoint_scores"], keypoint_scores, atol=tolerance)
    if not tolerance:
        np.testing.assert_array_equal(answer["keypoints"], keypoints)
