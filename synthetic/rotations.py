"""Rotation matrices about the axes of the body frame: x to the person's left, y up, z forward."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def about_x(angle: float) -> Array:
    """Return the 3x3 rotation by `angle` radians that turns y towards z."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array(((1.0, 0.0, 0.0), (0.0, c, -s), (0.0, s, c)))


def about_y(angle: float) -> Array:
    """Return the 3x3 rotation by `angle` radians that turns z towards x."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array(((c, 0.0, s), (0.0, 1.0, 0.0), (-s, 0.0, c)))


def about_z(angle: float) -> Array:
    """Return the 3x3 rotation by `angle` radians that turns x towards y."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array(((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)))
