import numpy as np
import pytest

from ensemble.keypoints import keypoint_set
from synthetic.body import Build, pose_body, sample_build
from synthetic.face import FaceShape, face_landmarks
from synthetic.posture import ARM_LIMITS, LEG_LIMITS, Posture, sample_posture

SET = keypoint_set("coco_wholebody")
FLIP = np.array(SET.flip_indices)
BUILD = Build(shoulders=0.11, hips=0.055, head=0.065, girth=1.0, legs=1.0, face=FaceShape())


def standing(arm: tuple[float, ...] = (0, 0, 0, 0, 0)) -> Posture:
    return Posture(
        arms=np.array((arm, arm), np.float64),
        legs=np.zeros((2, 5)),
        spine=np.zeros(3),
        neck=np.zeros(3),
        tilt=np.zeros(2),
        curls=np.zeros((2, 5)),
        spreads=np.full(2, 5.0),
    )


def test_symmetric_posture_gives_mirrored_points() -> None:
    points = pose_body(BUILD, standing((20, 30, 10, 40, 5))).points
    np.testing.assert_allclose(points[FLIP] * (-1, 1, 1), points, atol=1e-12)


def test_left_is_at_positive_x_and_the_nose_in_front() -> None:
    points = pose_body(BUILD, standing()).points
    for name in ("left_eye", "left_shoulder", "left_hip", "left_ankle", "left_pinky_finger4"):
        assert points[SET.names.index(name), 0] > 0.01, name
    assert points[0, 2] > points[[3, 4], 2].max()


def test_standing_person_is_one_stature_tall() -> None:
    points = pose_body(BUILD, standing()).points
    assert points[:, 1].max() - points[:, 1].min() == pytest.approx(0.96, abs=0.04)  # brow to sole


def test_raised_arm_is_above_the_head() -> None:
    points = pose_body(BUILD, standing((170, 0, 0, 0, 0))).points
    assert points[[9, 10], 1].min() > points[23:91, 1].max()


def test_thumb_points_forward_when_the_arm_hangs() -> None:
    points = pose_body(BUILD, standing()).points
    for side in ("left", "right"):
        thumb, pinky = (SET.names.index(f"{side}_{finger}") for finger in ("thumb4", "pinky_finger1"))
        assert points[thumb, 2] > points[pinky, 2] + 0.03


def test_fist_closes_towards_the_palm() -> None:
    posture = standing()
    posture.curls[:] = 1
    points = pose_body(BUILD, posture).points
    tip, knuckle = SET.names.index("left_middle_finger4"), SET.names.index("left_middle_finger1")
    assert points[tip, 0] < points[knuckle, 0] - 0.01  # the left palm looks to the right


def test_sampled_postures_stay_within_the_limits() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        posture = sample_posture(rng)
        for angles, limits in ((posture.arms, ARM_LIMITS), (posture.legs, LEG_LIMITS)):
            low, high = np.array(list(limits.values())).T
            assert (angles >= low).all() and (angles <= high).all()
        assert np.isfinite(pose_body(sample_build(rng), posture).points).all()


def test_face_landmarks_mirror() -> None:
    flip = FLIP[23:91] - 23
    points = face_landmarks(FaceShape(smile=0.05, mouth=0.1, brows=0.02))
    np.testing.assert_allclose(points[flip] * (-1, 1, 1), points, atol=1e-12)
