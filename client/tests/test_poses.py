import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import cigpose_client
import numpy as np
import pytest
from cigpose_client import Detection, Detections, Person, Poses, keypoint_sets


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
    assert all(hasattr(cigpose_client, name) for name in cigpose_client.__all__)
    found = {name for name, value in vars(cigpose_client).items() if not isinstance(value, ModuleType)}
    assert {name for name in found if not name.startswith("_")} | {"__version__"} == set(cigpose_client.__all__)


@pytest.mark.parametrize(("points", "name"), [(133, "coco_wholebody"), (17, "coco"), (14, "crowdpose")])
def test_the_number_of_keypoints_selects_the_set(points, name):
    known = poses(points=points).keypoint_set
    assert known is keypoint_sets()[name]
    assert len(known) == len(known.sides) == len(known.sigmas) == points
    assert all(0 <= row < points for edge in known.edges for row in edge)


def test_the_name_of_the_set_overrules_the_number():
    everybody = poses(points=17)
    assert replace(everybody, set_name="coco").keypoint_set is keypoint_sets()["coco"]
    for name in ("another_with_17", "coco_wholebody"):  # unknown; known, with another number of keypoints
        unnamed = replace(everybody, set_name=name)
        assert unnamed.keypoint_set is None
        assert (unnamed.keypoint_names, unnamed[0].keypoint_names, unnamed.supervision_edges) == ((), (), [])
    other = replace(poses(points=133), set_name="another_with_133")
    assert list(other.to_coco(1)[0]) == ["image_id", "category_id", "bbox", "score", "keypoints"]


def test_other_numbers_of_keypoints_have_no_names():
    assert poses(points=21).keypoint_set is None
    assert poses(points=21).keypoint_names == ()
    assert list(poses(points=21).to_coco(1)[0]) == ["image_id", "category_id", "bbox", "score", "keypoints"]


def test_select_keeps_people_and_their_points_together():
    everybody = poses(3)
    some = everybody.select(0.7)
    assert len(some) == 2
    np.testing.assert_array_equal(some.keypoints, everybody.keypoints[:2])
    assert some.persons_detected == 3
    assert len(everybody.select(1.0)) == 0


def test_poses_are_a_sequence_of_persons():
    everybody = poses(3)
    people = list(everybody)
    assert [type(person) for person in people] == [Person] * 3
    assert len(people) == len(everybody)
    for row, person in enumerate(people):
        np.testing.assert_array_equal(person.bbox, everybody.bboxes[row])
        np.testing.assert_array_equal(person.keypoints, everybody.keypoints[row])
        np.testing.assert_array_equal(person.keypoint_scores, everybody.keypoint_scores[row])
        assert person.bbox_score == everybody.bbox_scores[row]
        assert type(person.bbox_score) is float
        assert person.keypoint_names == everybody.keypoint_names
    np.testing.assert_array_equal(everybody[-1].keypoints, everybody.keypoints[2])
    np.testing.assert_array_equal(everybody[np.int64(1)].keypoints, everybody.keypoints[1])


def test_a_slice_of_poses_is_poses():
    everybody = poses(4)
    some = everybody[1:3]
    assert type(some) is Poses
    np.testing.assert_array_equal(some.keypoints, everybody.keypoints[1:3])
    np.testing.assert_array_equal(everybody[::-1].bbox_scores, everybody.bbox_scores[::-1])
    assert some.persons_detected == 4
    assert len(everybody[9:]) == 0


@pytest.mark.parametrize("index", [2, -3])
def test_a_row_out_of_range_is_an_index_error(index):
    with pytest.raises(IndexError, match=f"no person {index}: 2 were found"):
        poses(2)[index]


def test_poses_with_people_are_true():
    assert poses(1)
    assert not poses(0)
    assert list(poses(0)) == []


def test_a_keypoint_is_found_by_its_name():
    (person,) = everybody = poses(1, 133)
    row = everybody.keypoint_names.index("left_wrist")
    assert person["left_wrist"] == (*everybody.keypoints[0, row].tolist(), everybody.keypoint_scores[0, row])
    with pytest.raises(KeyError, match="no keypoint 'tail'; known: nose, left_eye"):
        person["tail"]


def test_detections_are_a_sequence_of_boxes():
    everybody = poses(2)
    boxes = Detections(everybody.bboxes, everybody.bbox_scores, 2)
    assert type(boxes[0]) is Detection
    assert [detection.bbox_score for detection in boxes] == everybody.bbox_scores.tolist()
    assert type(boxes[:1]) is Detections


def test_to_coco_of_17_keypoints():
    everybody = poses(1)
    (entry,) = everybody.to_coco(785)
    assert entry["image_id"] == 785
    assert entry["category_id"] == 1
    assert entry["score"] == pytest.approx(everybody.instance_scores[0])
    assert entry["bbox"] == [1.0, 2.0, 3.0, 6.0]
    assert len(entry["keypoints"]) == 51
    assert entry["keypoints"][:2] == pytest.approx(everybody.keypoints[0, 0].tolist())


def test_to_coco_leaves_the_box_out_on_request():
    (entry,) = poses(1).to_coco(785)
    assert poses(1).to_coco(785, bbox=False) == [{name: entry[name] for name in entry if name != "bbox"}]


def test_to_coco_of_133_keypoints_uses_five_fields():
    everybody = poses(1, 133)
    (entry,) = everybody.to_coco(785)
    fields = ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")
    assert [len(entry[name]) // 3 for name in fields] == [17, 6, 68, 21, 21]
    rows = np.concatenate([entry[name] for name in fields]).reshape(-1, 3)
    np.testing.assert_array_equal(rows[:, :2], everybody.keypoints[0])


def test_the_instance_score_counts_clear_keypoints_only():
    scores = np.array([[0.2, 0.4, 0.6], [0.1, 0.2, -1.0]], np.float32)
    everybody = poses(2, 3, scores)
    np.testing.assert_allclose(everybody.instance_scores, [0.9 * 0.5, 0.0], rtol=1e-6)


def test_to_supervision(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(KeyPoints=dict))
    everybody = poses()
    assert everybody.to_supervision()["xy"] is everybody.keypoints


@pytest.mark.parametrize("points", [133, 17, 14])
def test_the_edges_for_supervision_count_from_1(points):
    everybody = poses(points=points)
    edges = np.array(everybody.supervision_edges)
    np.testing.assert_array_equal(edges - 1, everybody.keypoint_set.edges)
    assert edges.min() == 1
    assert edges.max() <= points
    assert poses(points=21).supervision_edges == []


def test_to_supervision_names_the_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ModuleNotFoundError, match=r"cigpose-client\[supervision\]"):
        poses().to_supervision()


def test_to_dict_rounds_and_keeps_the_order():
    lifted = np.full((2, 17, 3), 0.123456, np.float32)
    record = replace(poses(2, points=17), keypoints_3d=lifted).to_dict()
    assert (record["keypoint_set"], record["keypoint_set_3d"], record["persons_detected"]) == ("coco", "human36m", 2)
    first = record["people"][0]
    assert list(first) == ["bbox", "bbox_score", "keypoints", "keypoints_3d"]
    assert first["keypoints_3d"][16] == [0.1235] * 3
    assert first["keypoints"][0][:2] == [round(float(value), 2) for value in poses(2, points=17).keypoints[0, 0]]
    assert poses(0).to_dict()["people"] == []
