"""The head in three dimensions: 68 face landmarks, ears, and the surface of the face.

Coordinates are in the head's frame (x to the person's left, y up, z forward), in half head heights. The origin is
between the ears.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SKULL = np.array((0.74, 1.0, 0.88))  # semi-axes
EAR = np.array((0.76, 0.06, -0.08))

_BROW = ((0.56, 0.40), (0.47, 0.50), (0.36, 0.53), (0.25, 0.51), (0.13, 0.45))  # from the temple inwards
_EYE = (
    (0.47, 0.24),
    (0.38, 0.315),
    (0.26, 0.32),
    (0.17, 0.235),
    (0.26, 0.19),
    (0.38, 0.185),
)  # from the temple along the upper lid, then back
_BRIDGE = ((0.27, 0.05), (0.11, 0.12), (-0.04, 0.20), (-0.19, 0.27))  # height, protrusion
_NOSTRILS = ((-0.17, -0.26, 0.08), (-0.09, -0.30, 0.13), (0.0, -0.32, 0.16))  # x, y, protrusion
_OUTER_LIP = (
    (-0.29, -0.53),
    (-0.18, -0.465),
    (-0.065, -0.435),
    (0.0, -0.45),
    (0.0, -0.66),
    (-0.07, -0.65),
    (-0.19, -0.61),
)
_INNER_LIP = ((-0.23, -0.53), (-0.09, -0.515), (0.0, -0.52), (0.0, -0.56), (-0.09, -0.555))


@dataclass(frozen=True)
class FaceShape:
    """Shape and expression of a face. Factors are 1, and lengths are 0, for the average face.

    Attributes:
        width: factor on the width of the jaw.
        chin: factor on the length below the mouth.
        eyes: factor on the opening of the eyes.
        brows: additional height of the brows in half head heights.
        smile: rise of the corners of the mouth in half head heights.
        mouth: opening of the mouth in half head heights.
        nose: factor on the protrusion of the nose.
    """

    width: float = 1.0
    chin: float = 1.0
    eyes: float = 1.0
    brows: float = 0.0
    smile: float = 0.0
    mouth: float = 0.0
    nose: float = 1.0


def sample_face_shape(rng: np.random.Generator) -> FaceShape:
    """Draw one face."""
    return FaceShape(
        width=rng.uniform(0.88, 1.08),
        chin=rng.uniform(0.92, 1.08),
        eyes=rng.uniform(0.7, 1.35),
        brows=rng.uniform(-0.03, 0.06),
        smile=rng.uniform(-0.03, 0.08),
        mouth=max(0.0, rng.uniform(-0.15, 0.2)),
        nose=rng.uniform(0.8, 1.25),
    )


def face_landmarks(shape: FaceShape) -> Array:
    """Return the 68 landmarks (68, 3) in the order of the 300-W markup: the person's right side first."""
    return np.concatenate((_jaw(shape), _brows(shape), _nose(shape), _eyes(shape), _mouth(shape)))


def surface_z(x: Array, y: Array) -> Array:
    """Return the z coordinate of the face at (x, y)."""
    return np.asarray(0.9 * np.sqrt(np.clip(1.0 - (x / 0.84) ** 2 - (y / 1.45) ** 2, 0.02, None)))


def landmark_normals(landmarks: Array) -> Array:
    """Return approximate outward unit normals (N, 3) at the landmarks, to decide what faces the camera."""
    normals = landmarks / np.array((0.7, 1.6, 0.75))
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))


def _jaw(shape: FaceShape) -> Array:
    angle = np.linspace(-np.pi / 2, np.pi / 2, 17)
    x = 0.73 * shape.width * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.75
    y = 0.08 - (0.90 + 0.18 * shape.chin + 0.6 * shape.mouth) * np.cos(angle) ** 0.9
    return np.stack((x, y, 0.72 * np.cos(angle) ** 0.8), axis=1)


def _brows(shape: FaceShape) -> Array:
    right = np.array(_BROW) * (-1, 1) + (0, shape.brows)
    return _on_surface(np.concatenate((right, right[::-1] * (-1, 1))), 0.04)


def _nose(shape: FaceShape) -> Array:
    bridge = np.array([(0.0, y, out) for y, out in _BRIDGE])
    right = np.array(_NOSTRILS)
    points = np.concatenate((bridge, right, right[1::-1] * (-1, 1, 1)))
    points[:, 2] = surface_z(points[:, 0], points[:, 1]) + shape.nose * points[:, 2]
    return np.asarray(points)


def _eyes(shape: FaceShape) -> Array:
    eye = np.array(_EYE)
    middle = eye[[0, 3], 1].mean()
    eye[:, 1] = middle + (eye[:, 1] - middle) * shape.eyes
    left = eye[[3, 2, 1, 0, 5, 4]]
    return _on_surface(np.concatenate((eye * (-1, 1), left)), -0.02)


def _mouth(shape: FaceShape) -> Array:
    outer = _lip(np.array(_OUTER_LIP), upper=4, shape=shape)
    inner = _lip(np.array(_INNER_LIP), upper=3, shape=shape)
    return _on_surface(np.concatenate((outer, inner)), 0.04)


def _lip(right: Array, upper: int, shape: FaceShape) -> Array:
    """Return the whole ring of a lip from one half: corner, upper side to the middle, lower side from the middle."""
    right = right.copy()
    right[upper:, 1] -= shape.mouth
    right[0, 1] += shape.smile - shape.mouth / 2
    top, bottom = right[:upper], right[upper:]
    mirror = np.array((-1, 1))
    return np.concatenate((top, top[-2::-1] * mirror, bottom[:0:-1] * mirror, bottom))


def _on_surface(points: Array, out: float) -> Array:
    return np.column_stack((points, surface_z(points[:, 0], points[:, 1]) + out))
