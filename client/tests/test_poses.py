import sys
from types import ModuleType, SimpleNamespace

import cigpose_client
import numpy as np
import pytest
from cigpose_client import Poses, keypoint_sets


def poses(count=2, points=17, scores=None):
    random = np.random.default_rng(count * points)
    return Poses(
        bboxes=np.array([[1, 2, 4, 8]] * count, np.float32).reshape(-1, 4),
        bbox_scores=np.linspace(0.9, 0.5, count, dtype=np.float32),
        persons_detected=count,
        keypoints=random.uniform(0, 99, (count, points, 2)).astype(np.float32),
        keypoint_scores=random.uniform(0, 1, (count, points)).astype(np.float32) if scores is None else scores,
    )


def test_the_public_names():
    assert sorted(cigpose_client.__all__) == cigpose_client.__all__
    assert all(hasattr(cigpose_client, name) for name in cigpose_client.__all__)
    public = {
        name
        for name, value in vars(cigpose_client).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)  # `evaluation` and `outputs`, once imported
    }
    assert set(cigpose_client.__all__) == public | {"__version__"}


@pytest.mark.parametrize(("points", "name"), [(133, "coco_wholebody"), (17, "coco"), (14, "crowdpose")])
def test_the_number_of_points_names_the_set(points, name):
    known = poses(points=points).keypoint_set
    assert known is keypoint_sets()[name]
    assert len(known) == len(known.sides) == len(known.sigmas) == points
    assert all(0 <= row < points for edge in known.edges for row in edge)


def test_another_number_of_points_has_no_names():
    assert poses(points=21).keypoint_set is None
    assert poses(points=21).keypoint_names == ()
    assert list(poses(points=21).to_coco(1)[0]) == ["image_id", "category_id", "score", "keypoints"]


def test_select_keeps_people_and_their_points_together():
    everybody = poses(3)
    some = everybody.select(0.7)
    assert len(some) == 2
    np.testing.assert_array_equal(some.keypoints, everybody.keypoints[:2])
    assert some.persons_detected == 3
    assert len(everybody.select(1.0)) == 0


def test_to_coco_of_17_points():
    everybody = poses(1)
    (entry,) = everybody.to_coco(785)
    assert entry["image_id"] == 785
    assert entry["category_id"] == 1
    assert entry["score"] == pytest.approx(everybody.instance_scores[0])
    assert len(entry["keypoints"]) == 51
    assert entry["keypoints"][:2] == pytest.approx(everybody.keypoints[0, 0].tolist())


def test_to_coco_of_133_points_is_in_the_fields_of_coco_wholebody():
    everybody = poses(1, 133)
    (entry,) = everybody.to_coco(785)
    fields = ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")
    assert [len(entry[name]) // 3 for name in fields] == [17, 6, 68, 21, 21]
    rows = np.concatenate([entry[name] for name in fields]).reshape(-1, 3)
    np.testing.assert_array_equal(rows[:, :2], everybody.keypoints[0])


def test_the_instance_score_counts_clear_points_only():
    scores = np.array([[0.2, 0.4, 0.6], [0.1, 0.2, -1.0]], np.float32)
    everybody = poses(2, 3, scores)
    np.testing.assert_allclose(everybody.instance_scores, [0.9 * 0.5, 0.0], rtol=1e-6)


def test_to_supervision(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(KeyPoints=dict))
    everybody = poses()
    assert everybody.to_supervision()["xy"] is everybody.keypoints


def test_to_supervision_without_it_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ModuleNotFoundError, match=r"cigpose-client\[supervision\]"):
        poses().to_supervision()
