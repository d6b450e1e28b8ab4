"""Pictures with no person up to hundreds, detected or given as boxes."""

import numpy as np
import pytest

from tests.conftest import HEADS
from tests.pictures import encode, noise_picture, picture_with_persons
from tests.triton import call, counters

pytestmark = [pytest.mark.server, pytest.mark.parametrize("repository", HEADS, indirect=True)]


def crowd(count):
    """Return a picture with `count` people at different places."""
    return picture_with_persons([(2 * (i % 26), 2 * (i // 26)) for i in range(count)], seed=count)


@pytest.mark.parametrize("count", [31, 32, 33, 96, 300])
def test_the_best_max_persons_are_answered(server, count):
    answer = call(server, "pose", encode(crowd(count)))
    assert len(answer["keypoints"]) == len(answer["bboxes"]) == min(count, 32)
    assert answer["persons_detected"].tolist() == [count]
    assert (np.diff(answer["bbox_scores"]) <= 0).all()


def test_boxes_of_300_people(server):
    picture = encode(crowd(300))
    answer = call(server, "pose", picture, outputs=["bboxes", "bbox_scores"], max_persons=300)
    assert answer["bboxes"].shape == (300, 4)
    centers = (answer["bboxes"][:, :2] + answer["bboxes"][:, 2:]) / 2
    expected = {(16.0 * (i % 26) + 4, 16.0 * (i // 26) + 4) for i in range(300)}
    assert {tuple(center) for center in centers.round().tolist()} == expected


def test_equal_scores_keep_the_detectors_order(server):
    answers = [call(server, "pose", encode(crowd(60)), outputs=["bboxes"], max_persons=60)["bboxes"] for _ in range(3)]
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])


def test_each_row_belongs_to_its_box(server, rounding):
    """Requests for single persons give the same rows as one request for all of them."""
    picture = encode(crowd(20))
    together = call(server, "pose", picture)
    for row, bbox in enumerate(together["bboxes"]):
        alone = call(server, "pose_from_boxes", picture, bbox[None])
        for name in ("keypoints", "keypoint_scores"):
            np.testing.assert_allclose(alone[name][0], together[name][row], rtol=0, atol=rounding)
    assert len(np.unique(together["keypoints"], axis=0)) == 20


def test_a_picture_without_people_costs_one_counted_crop(server):
    before = {name: counters(server, name) for name in ("nv_inference_count", "cigpose_dummy_crops_total")}
    for _ in range(3):
        call(server, "pose", encode(noise_picture()))
    after = {name: counters(server, name) for name in before}
    assert after["nv_inference_count"]["spots"] - before["nv_inference_count"]["spots"] == 3
    assert after["cigpose_dummy_crops_total"][""] - before["cigpose_dummy_crops_total"].get("", 0) == 3


GIVEN = {
    "partly outside": [-50, -20, 60, 90],
    "wholly outside": [1000, 1000, 1100, 1200],
    "one pixel": [10, 10, 11, 11],
    "larger than the picture": [-500, -500, 900, 900],
    "very wide": [0, 100, 300, 101],
    "very tall": [100, 0, 101, 230],
    "no height": [10, 10, 50, 10],
    "fractions": [10.25, 20.125, 77.0625, 90.5],
}


def test_unusual_boxes_are_answered_in_order_and_unchanged(server, rounding):
    picture = encode(noise_picture())
    bboxes = np.array([*GIVEN.values(), *GIVEN.values()], np.float32)  # with duplicates
    answer = call(server, "pose_from_boxes", picture, bboxes)
    np.testing.assert_array_equal(answer["bboxes"], bboxes)
    half = len(GIVEN)
    np.testing.assert_allclose(answer["keypoints"][:half], answer["keypoints"][half:], rtol=0, atol=rounding)
    assert np.isfinite(answer["keypoints"]).all()
    for name, row in zip(GIVEN, range(half), strict=True):
        alone = call(server, "pose_from_boxes", picture, bboxes[row : row + 1])
        np.testing.assert_allclose(alone["keypoints"][0], answer["keypoints"][row], rtol=0, atol=rounding, err_msg=name)
