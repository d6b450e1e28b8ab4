"""COCO's points as joints of Human3.6M, and the size of a person in the picture."""

import numpy as np
import pytest

from ensemble.keypoints import keypoint_set, keypoint_sets
from ensemble.keypoints.human36m import has_human36m, pixels_per_metre, to_human36m

JOINTS = keypoint_set("human36m").names
STANDING = {  # in centimetres of a person of 1.75 m, y down from the top of the head
    **{"nose": (0, 14), "left_eye": (3, 11), "left_ear": (7, 13), "left_shoulder": (18, 32), "left_hip": (9, 82.4)},
    **{"left_elbow": (19, 64.6), "left_wrist": (20, 90.2), "left_knee": (9, 125.3), "left_ankle": (9, 168.3)},
}


def standing(name="coco"):
    """Return (1, K, 2): a person seen from the front; points beyond COCO's 17 lie far away."""
    mirrored = {point.replace("left", "right"): (-x, y) for point, (x, y) in STANDING.items()}
    places = {**mirrored, **STANDING}
    return np.array([[places.get(point, (9999, -9999)) for point in keypoint_set(name).names]], np.float32)


def test_which_sets_fit():
    assert [name for name in keypoint_sets() if has_human36m(name)] == ["coco_wholebody", "coco"]


@pytest.mark.parametrize("name", ["coco", "coco_wholebody"])
def test_joints_of_the_same_name_are_taken_and_the_others_guessed(name):
    keypoints = standing(name)
    of_coco = dict(zip(keypoint_set(name).names, keypoints[0].tolist(), strict=True))
    joints = dict(zip(JOINTS, to_human36m(keypoints, name)[0].tolist(), strict=True))
    guessed = {"root": [0, 82.4], "spine": [0, 57.2], "thorax": [0, 32], "head": [0, 3.5]}
    for joint in JOINTS:
        assert joints[joint] == pytest.approx(guessed[joint] if joint in guessed else of_coco[joint], abs=1e-4), joint


def test_the_mirror_image_has_mirrored_joints():
    random = np.random.default_rng(0).uniform(0, 100, (5, 17, 2)).astype(np.float32)
    flipped = (random * np.float32([-1, 1]))[:, list(keypoint_set("coco").flip_indices)]
    expected = to_human36m(random, "coco")[:, list(keypoint_set("human36m").flip_indices)] * np.float32([-1, 1])
    np.testing.assert_allclose(to_human36m(flipped, "coco"), expected, atol=1e-4)


def test_a_standing_person_has_the_size_of_the_table():
    assert pixels_per_metre(to_human36m(standing(), "coco"))[0] == pytest.approx(100, rel=0.01)
    assert pixels_per_metre(to_human36m(standing() * 3, "coco"))[0] == pytest.approx(300, rel=0.01)


def test_a_sitting_person_and_a_wrong_joint_change_the_size_little():
    joints = to_human36m(standing(), "coco")
    index = {joint: row for row, joint in enumerate(JOINTS)}
    sitting = joints.copy()
    for side in ("left", "right"):  # thighs and forearms towards the camera
        for joint in ("knee", "ankle"):
            sitting[0, index[f"{side}_{joint}"], 1] -= 40
        sitting[0, index[f"{side}_wrist"]] = sitting[0, index[f"{side}_elbow"]]
    assert pixels_per_metre(sitting)[0] == pytest.approx(100, rel=0.05)
    for joint in ("left_knee", "right_elbow", "left_ankle"):
        wrong = joints.copy()
        wrong[0, index[joint]] += 500
        assert pixels_per_metre(wrong)[0] == pytest.approx(100, rel=0.05)
