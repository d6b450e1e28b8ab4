"""The 21 keypoints of a hand in three dimensions, from its frame and the flexion of its fingers."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# (along the hand, towards the thumb) in statures. Phalanges run from knuckle to tip. The thumb begins at the wrist.
_BASES = ((0.014, 0.013), (0.047, 0.017), (0.049, 0.005), (0.046, -0.007), (0.041, -0.018))
_PHALANGES = (
    (0.022, 0.018, 0.015),
    (0.026, 0.016, 0.012),
    (0.029, 0.018, 0.013),
    (0.027, 0.017, 0.012),
    (0.021, 0.013, 0.011),
)
_DIRECTIONS_DEG = (38.0, 1.0, 0.0, -1.0, -2.0)  # of the unspread finger, towards the thumb
_SPREAD_SHARE = (1.2, 1.0, 0.2, -0.6, -1.3)
_BEND_DEG = (50.0, 85.0, 100.0, 70.0)  # at full curl: thumb joints; then knuckle, middle and end joint


def hand_points(root: Array, along: Array, thumbwards: Array, palm: Array, curls: Array, spread_deg: float) -> Array:
    """Return the keypoints of one hand in COCO-WholeBody's order: root, then four per finger, thumb first.

    Args:
        root: (3,) wrist end of the hand.
        along: (3,) unit vector towards the fingers.
        thumbwards: (3,) unit vector towards the thumb.
        palm: (3,) unit vector out of the palm, the direction in which fingers curl.
        curls: (5,) flexion of each finger, from 0 (straight) to 1 (fist).
        spread_deg: angle between neighbouring fingers, in degrees.

    Returns:
        (21, 3) float64, in the frame of the arguments.
    """
    local = [np.zeros((1, 3))]
    for finger in range(5):
        local.append(_finger(finger, float(curls[finger]), spread_deg))
    return root + np.concatenate(local) @ np.stack((along, thumbwards, palm))


def _finger(finger: int, curl: float, spread_deg: float) -> Array:
    """Return four joints as (along, thumbwards, palm)."""
    heading = math.radians(_DIRECTIONS_DEG[finger] + _SPREAD_SHARE[finger] * spread_deg)
    point, bend = np.array((*_BASES[finger], 0.0)), 0.0
    joints = [point]
    for joint, length in enumerate(_PHALANGES[finger]):
        bend += math.radians(curl * (_BEND_DEG[0] if finger == 0 else _BEND_DEG[1 + joint]))
        flat = math.cos(bend) * length
        point = np.add(point, (flat * math.cos(heading), flat * math.sin(heading), math.sin(bend) * length))
        joints.append(point)
    return np.stack(joints)
