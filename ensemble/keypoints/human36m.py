"""COCO's points -> the joints of Human3.6M, and how large a person of these joints is in the picture.

Both tables are this project's, not the authors' of a lifter. Human3.6M's hips, thorax and head were measured at other
places of the body than those that COCO's annotators marked, so accuracy that is published on it does not carry over.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ensemble.keypoints.sets import keypoint_set

Floats = NDArray[np.float32]

# Joints without a point of their name in COCO, as weighted sums of COCO's points. The hips' and shoulders' middles are
# root and thorax, the middle of those is the spine, and the head's top lies beyond the ears, half as far as the thorax.
_GUESSED: Mapping[str, Mapping[str, float]] = {
    "root": {"left_hip": 0.5, "right_hip": 0.5},
    "spine": {"left_hip": 0.25, "right_hip": 0.25, "left_shoulder": 0.25, "right_shoulder": 0.25},
    "thorax": {"left_shoulder": 0.5, "right_shoulder": 0.5},
    "head": {"left_ear": 0.75, "right_ear": 0.75, "left_shoulder": -0.25, "right_shoulder": -0.25},
}
STATURE_M = 1.75  # a person's height is not known
# Lengths in metres of a person of this height. Source: Drillis and Contini, Body segment parameters (1966), as
# fractions of the height: trunk 0.288, thigh 0.245, shank 0.246, upper arm 0.186, forearm 0.146.
_LIMBS: Mapping[tuple[str, str], float] = {
    ("root", "thorax"): 0.504,
    **{(f"{side}_hip", f"{side}_knee"): 0.429 for side in ("left", "right")},
    **{(f"{side}_knee", f"{side}_ankle"): 0.430 for side in ("left", "right")},
    **{(f"{side}_shoulder", f"{side}_elbow"): 0.326 for side in ("left", "right")},
    **{(f"{side}_elbow", f"{side}_wrist"): 0.256 for side in ("left", "right")},
}
_TRUSTED = 3  # a wrong joint spoils two limbs at most, a limb towards the camera is short: the third longest counts
_JOINTS = keypoint_set("human36m").names
ROOT = _JOINTS.index("root")


def has_human36m(name: str) -> bool:
    """Return whether the joints of Human3.6M can be made of a keypoint set: COCO's 17 points are its first ones."""
    body = keypoint_set("coco").names
    return keypoint_set(name).names[: len(body)] == body


def to_human36m(keypoints: Floats, name: str) -> Floats:
    """Return the joints (N, 17, D) of Human3.6M.

    Args:
        keypoints: (N, K, D) of the keypoint set, in a picture (D = 2) or in space.
        name: the set, for which `has_human36m` is true.
    """
    index = {point: row for row, point in enumerate(keypoint_set(name).names)}
    joints = np.zeros((len(keypoints), len(_JOINTS), keypoints.shape[2]), np.float32)
    for row, joint in enumerate(_JOINTS):
        for point, weight in _GUESSED.get(joint, {joint: 1.0}).items():
            joints[:, row] += np.float32(weight) * keypoints[:, index[point]]
    return joints


def pixels_per_metre(joints: Floats) -> Floats:
    """Estimate (N,) how large people of average build and `STATURE_M` appear, from joints (N, 17, 2) in pixels."""
    index = {joint: row for row, joint in enumerate(_JOINTS)}
    ends = np.array([(index[a], index[b]) for a, b in _LIMBS])
    lengths = np.linalg.norm(joints[:, ends[:, 0]] - joints[:, ends[:, 1]], axis=2)
    ratios = np.sort(lengths / np.array(list(_LIMBS.values()), np.float32), axis=1)
    return np.asarray(ratios[:, -_TRUSTED], np.float32)
