"""Candidates of a bottom-up network -> people: thresholds, suppression, order and limits."""

import numpy as np
import pytest

from ensemble.steps import Request, load_step
from ensemble.steps.select_poses import SelectPoses, distinct_poses

STEP = SelectPoses("select_poses_512", 512)
SIZE = (1024, 512)  # the fit of such a picture changes nothing
SHAPE = np.random.default_rng(0).uniform(0, 60, (17, 2)).astype(np.float32)


def run(keypoints, scores, centers=None, **parameters):
    keypoints, scores = np.float32(keypoints).reshape(-1, 17, 2), np.float32(scores)
    tensors = {
        "candidate_keypoints": keypoints,
        "candidate_keypoint_scores": np.repeat(scores[:, None], 17, axis=1),
        "candidate_scores": scores,
        "center_scores": np.float32(np.full(len(scores), 0.5) if centers is None else centers),
        "image_size": np.array(SIZE, np.int32),
    }
    return STEP.run(Request(tensors, parameters, frozenset()))


def people(count, apart=80):
    return np.stack([SHAPE + np.float32([apart * (i % 10), apart * (i // 10)]) for i in range(count)])


def test_the_best_person_comes_first_with_the_extent_of_its_keypoints():
    answer = run(people(3), [0.2, 0.5, 0.3])
    assert answer["bbox_scores"].tolist() == np.float32([0.5, 0.3, 0.2]).tolist()
    np.testing.assert_allclose(answer["keypoints"], people(3)[[1, 2, 0]], atol=1e-4)
    np.testing.assert_array_equal(answer["bboxes"][:, :2], answer["keypoints"].min(axis=1))
    np.testing.assert_array_equal(answer["bboxes"][:, 2:], answer["keypoints"].max(axis=1))
    assert answer["persons_detected"].tolist() == [3]


def test_nobody_gives_empty_arrays():
    answer = run(people(2), [0.4, 0.0], centers=[0.0099, 0.001])  # one candidate always has scores
    assert {name: array.shape for name, array in answer.items()} == {
        "bboxes": (0, 4),
        "bbox_scores": (0,),
        "keypoints": (0, 17, 2),
        "keypoint_scores": (0, 17),
        "persons_detected": (1,),
    }
    assert answer["persons_detected"].tolist() == [0]
    assert {array.dtype for array in answer.values()} == {np.dtype(np.float32), np.dtype(np.int32)}


def test_persons_without_a_positive_score_or_a_centre_are_dropped():
    answer = run(people(5), [0.3, 0.0, -0.1, np.nan, 0.2], centers=[0.01, 0.5, 0.4, 0.3, 0.009])
    assert answer["bbox_scores"].tolist() == [np.float32(0.3)]


def test_options():
    assert len(run(people(4), [0.4, 0.3, 0.2, 0.1], bbox_threshold="0.2")["bboxes"]) == 3
    answer = run(people(4), [0.4, 0.3, 0.2, 0.1], max_persons=2)
    assert (len(answer["bboxes"]), answer["persons_detected"].tolist()) == (2, [4])


@pytest.mark.parametrize("value", ["0.5", 0.45])
def test_nms_threshold_is_refused_by_name(value):
    with pytest.raises(ValueError, match=f"request parameter nms_threshold is {value!r}; it does not apply") as refused:
        run(people(1), [0.5], nms_threshold=value)
    assert refused.value.reason == "parameters"
    with pytest.raises(ValueError, match="unknown request parameter typo; known: bbox_threshold"):
        run(people(1), [0.5], typo=1)


def test_300_candidates_give_the_30_best():
    scores = np.linspace(0.1, 0.9, 300)
    answer = run(people(300), scores, max_persons=10_000)
    assert answer["bbox_scores"].tolist() == np.float32(scores[:-31:-1]).tolist()
    assert answer["persons_detected"].tolist() == [300]


def moved(points, count, by):
    """The pose with its first `count` keypoints moved."""
    points = points.copy()
    points[:count, 0] += by
    return points


def test_a_person_found_twice_is_answered_once():
    limit = 0.05 * np.linalg.norm(np.ptp(SHAPE, axis=0))
    same = moved(SHAPE, 8, 4 * limit)  # 9 of 17 keypoints lie close
    other = moved(SHAPE, 9, 4 * limit)
    assert distinct_poses(np.stack([SHAPE, same]), np.float32([0.2, 0.3])).tolist() == [1]
    assert distinct_poses(np.stack([SHAPE, same]), np.float32([0.3, 0.2])).tolist() == [0]
    assert distinct_poses(np.stack([SHAPE, other]), np.float32([0.3, 0.2])).tolist() == [0, 1]
    at_the_limit = SHAPE + np.float32([limit * 1.0001, 0])
    assert distinct_poses(np.stack([SHAPE, at_the_limit]), np.float32([0.3, 0.2])).tolist() == [0, 1]


def test_suppression_walks_by_centre_score():
    """The first group takes its best member; a later group whose best is taken already gives nobody."""
    limit = 0.05 * np.linalg.norm(np.ptp(SHAPE, axis=0))
    chain = np.stack([SHAPE, SHAPE + np.float32([0.7 * limit, 0]), SHAPE + np.float32([1.4 * limit, 0])])
    assert distinct_poses(chain, np.float32([0.1, 0.9, 0.5])).tolist() == [1]
    assert distinct_poses(chain, np.float32([0.9, 0.1, 0.5])).tolist() == [0, 2]


def test_a_pose_without_extent_is_nobody():
    assert distinct_poses(np.zeros((1, 17, 2), np.float32), np.float32([0.9])).tolist() == []
    assert distinct_poses(np.zeros((0, 17, 2), np.float32), np.zeros(0, np.float32)).tolist() == []


def test_a_config_holds_all_that_the_step_needs():
    step = f"{SelectPoses.__module__}:{SelectPoses.__qualname__}"
    assert load_step(STEP.name, {"step": step, **STEP.settings}) == STEP
