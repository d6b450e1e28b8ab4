"""Forward kinematics: the 133 COCO-WholeBody keypoints in three dimensions, from a build and a posture.

Lengths are in statures (height of the standing person = 1). The frame is that of the pelvis: x to the person's left,
y up, z forward. Proportions are rounded from common anthropometric tables.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthetic import rotations
from synthetic.face import EAR, FaceShape, face_landmarks, sample_face_shape
from synthetic.hand import hand_points
from synthetic.posture import Posture

Array = NDArray[np.float64]

SIDES = (1.0, -1.0)  # left, right: the sign of x
FACE, EYES_OF_FACE, NOSE_TIP = slice(23, 91), (slice(42, 48), slice(36, 42)), 30
HANDS = (slice(91, 112), slice(112, 133))


@dataclass(frozen=True)
class Build:
    """Proportions of one person, in statures.

    Attributes:
        shoulders: half the distance of the shoulder joints.
        hips: half the distance of the hip joints.
        head: half the height of the head.
        girth: factor on the thickness of trunk and limbs.
        legs: factor on the length of the legs.
        face: shape of the face.
    """

    shoulders: float
    hips: float
    head: float
    girth: float
    legs: float
    face: FaceShape


@dataclass(frozen=True)
class Body:
    """A posed body.

    Attributes:
        points: (133, 3) COCO-WholeBody points.
        neck: (2, 3) base of the neck and base of the skull.
        head_center: (3,) between the ears.
        head_frame: (3, 3) axes of the head as columns.
        chest_frame: (3, 3) axes of the chest as columns.
        build: its proportions.
    """

    points: Array
    neck: Array
    head_center: Array
    head_frame: Array
    chest_frame: Array
    build: Build


def sample_build(rng: np.random.Generator) -> Build:
    """Draw the proportions of one person; one in six is a child."""
    child = rng.random() < 0.16
    return Build(
        shoulders=rng.uniform(0.098, 0.128),
        hips=rng.uniform(0.050, 0.064),
        head=rng.uniform(0.062, 0.070) * (rng.uniform(1.15, 1.4) if child else 1.0),
        girth=rng.uniform(0.82, 1.35),
        legs=rng.uniform(0.94, 1.05) * (0.94 if child else 1.0),
        face=sample_face_shape(rng),
    )


def pose_body(build: Build, posture: Posture) -> Body:
    """Compute all keypoints of a body."""
    points = np.zeros((133, 3))
    spine, neck = np.radians(posture.spine), np.radians(posture.neck)
    chest = rotations.about_y(spine[2]) @ rotations.about_x(spine[0]) @ rotations.about_z(spine[1])
    head = chest @ rotations.about_y(neck[2]) @ rotations.about_x(neck[0]) @ rotations.about_z(neck[1])
    waist = np.array((0.0, 0.10, 0.0))
    neck_base = waist + chest @ (0.0, 0.195, -0.005)
    skull_base = neck_base + chest @ (0.0, 0.030, 0.008)
    center = skull_base + head @ (0.0, 0.85 * build.head, 0.2 * build.head)
    _place_head(points, center, head, build)
    for side in range(2):
        _place_arm(points, side, waist, chest, build, posture)
        _place_leg(points, side, build, posture)
    whole = rotations.about_x(math.radians(posture.tilt[0])) @ rotations.about_z(math.radians(posture.tilt[1]))
    bones = np.stack((neck_base, skull_base))
    return Body(points @ whole.T, bones @ whole.T, whole @ center, whole @ head, whole @ chest, build)


def _place_head(points: Array, center: Array, frame: Array, build: Build) -> None:
    face = center + build.head * face_landmarks(build.face) @ frame.T
    points[FACE] = face
    points[0] = face[NOSE_TIP]
    for side, eye in enumerate(EYES_OF_FACE):
        points[1 + side] = face[eye].mean(axis=0)
        points[3 + side] = center + build.head * frame @ (EAR * (SIDES[side], 1, 1))


def _place_arm(points: Array, side: int, waist: Array, chest: Array, build: Build, posture: Posture) -> None:
    flex, abduct, rotate, bend, wrist_bend = np.radians(posture.arms[side])
    sign = SIDES[side]
    shrug = 0.03 * max(0.0, math.sin(abduct) - 0.5 * math.cos(abduct)) + 0.02 * max(0.0, flex - 1.2)
    shoulder = waist + chest @ (sign * (build.shoulders - 0.5 * shrug), 0.168 + shrug, 0.0)
    upper = chest @ rotations.about_z(sign * abduct) @ rotations.about_x(-flex) @ rotations.about_y(-sign * rotate)
    fore = upper @ rotations.about_x(-bend)
    elbow = shoulder - 0.168 * upper[:, 1]
    wrist = elbow - 0.148 * fore[:, 1]
    hand = fore @ rotations.about_z(-sign * wrist_bend)
    along, thumbwards = -hand[:, 1], hand[:, 2]
    palm = sign * np.cross(along, thumbwards)
    points[[5 + side, 7 + side, 9 + side]] = shoulder, elbow, wrist
    root = wrist + 0.006 * along
    points[HANDS[side]] = hand_points(root, along, thumbwards, palm, posture.curls[side], posture.spreads[side])


def _place_leg(points: Array, side: int, build: Build, posture: Posture) -> None:
    flex, abduct, rotate, bend, ankle_bend = np.radians(posture.legs[side])
    sign, length = SIDES[side], 0.243 * build.legs
    hip = np.array((sign * build.hips, 0.0, 0.0))
    thigh = rotations.about_z(sign * abduct) @ rotations.about_x(-flex) @ rotations.about_y(-sign * rotate)
    shin = thigh @ rotations.about_x(bend)
    knee = hip - length * thigh[:, 1]
    ankle = knee - length * shin[:, 1]
    foot = shin @ rotations.about_x(-ankle_bend)
    big, small, heel = (sign * -0.008, -0.036, 0.112), (sign * 0.027, -0.038, 0.088), (0.0, -0.033, -0.036)
    points[[11 + side, 13 + side, 15 + side]] = hip, knee, ankle
    first = 17 + 3 * side
    points[first : first + 3] = ankle + np.array((big, small, heel)) @ foot.T
