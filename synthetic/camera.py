"""The camera: projection from the body frame to pixels."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthetic import rotations

Array = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """Position and orientation of one person relative to the camera.

    Attributes:
        rotation: (3, 3) body frame -> camera frame (x right, y up, z towards the camera).
        scale: pixels per stature at the pelvis.
        origin: (2,) pixels, position of the pelvis.
        distance: distance of the camera in statures.
    """

    rotation: Array
    scale: float
    origin: Array
    distance: float

    def project(self, points: Array) -> tuple[Array, Array]:
        """Project points (N, 3). Return pixels (N, 2), and closeness to the camera (N,) in statures."""
        seen = points @ self.rotation.T
        factor = self.scale / (1.0 - seen[:, 2] / self.distance)
        pixels = np.stack((seen[:, 0] * factor, -seen[:, 1] * factor), axis=1) + self.origin
        return pixels, seen[:, 2]

    def facing(self, normals: Array) -> Array:
        """Return the cosine (N,) between normals (N, 3) and the direction to the camera."""
        return np.asarray(normals @ self.rotation[2])


def view_rotation(yaw: float, pitch: float) -> Array:
    """Return the rotation of a person turned by `yaw` radians (0 faces the camera) seen from `pitch` radians above."""
    return np.asarray(rotations.about_x(pitch) @ rotations.about_y(yaw))


def sample_view(rng: np.random.Generator, scale: float, pitch: float) -> View:
    """Draw a direction of view, more often from the front than from the back; the pelvis is at (0, 0)."""
    spread = math.radians(45) if rng.random() < 0.6 else math.pi
    yaw = rng.normal(0, spread) if spread < 1 else rng.uniform(-spread, spread)
    return View(view_rotation(yaw, pitch), scale, np.zeros(2), rng.uniform(4.0, 12.0))
