"""A transparent picture of one figure, with a map of the body part at each pixel."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Color = tuple[int, int, int]

_SHIFT = 4  # fractional bits of the coordinates that OpenCV draws with
_ARC = np.linspace(np.pi / 2, 3 * np.pi / 2, 9)


class Layer:
    """Premultiplied BGRA pixels and part numbers; later drawing covers earlier drawing.

    Attributes:
        bgra: (H, W, 4) uint8; antialiased edges carry partial alpha.
        parts: (H, W) uint8, number of the part drawn last, 0 for none.
        scale: pixels of the layer per pixel of the scene.
        offset: (2,) upper left corner of the layer in scene pixels.
    """

    def __init__(self, size: tuple[int, int], offset: Array, scale: float) -> None:
        """Make an empty layer of `size` = (w, h) layer pixels."""
        self.bgra = np.zeros((size[1], size[0], 4), np.uint8)
        self.parts = np.zeros((size[1], size[0]), np.uint8)
        self.scale = scale
        self.offset = offset

    def polygon(self, points: Array, color: Color, part: int = 0) -> None:
        """Fill a polygon (N, 2) in scene pixels; `part` 0 does not change the part map."""
        fixed = self._fixed(points)
        cv2.fillPoly(self.bgra, [fixed], (*color, 255), cv2.LINE_AA, _SHIFT)
        if part:
            cv2.fillPoly(self.parts, [fixed], part, cv2.LINE_8, _SHIFT)

    def hull(self, points: Array, color: Color, part: int = 0) -> None:
        """Fill the convex hull of points (N, 2) in scene pixels; fewer than three draw nothing."""
        if len(points) >= 3:
            self.polygon(cv2.convexHull(points.astype(np.float32))[:, 0], color, part)

    def capsule(self, ends: Array, radii: tuple[float, float], color: Color, part: int = 0) -> None:
        """Fill a rounded, tapered bar between two points (2, 2) with a radius at each, scene pixels."""
        self.polygon(_capsule(ends, radii), color, part)

    def disc(self, center: Array, radius: float, color: Color, part: int = 0) -> None:
        """Fill a circle, scene pixels."""
        self.polygon(_capsule(np.stack((center, center)), (radius, radius)), color, part)

    def line(self, points: Array, width: float, color: Color, part: int = 0) -> None:
        """Draw a polyline (N, 2) of `width` scene pixels, at least one layer pixel."""
        fixed, thick = self._fixed(points), max(1, round(width * self.scale))
        cv2.polylines(self.bgra, [fixed], False, (*color, 255), thick, cv2.LINE_AA, _SHIFT)
        if part:
            cv2.polylines(self.parts, [fixed], False, part, thick, cv2.LINE_8, _SHIFT)

    def _fixed(self, points: Array) -> NDArray[np.int32]:
        return np.asarray(np.rint((points - self.offset) * (self.scale * (1 << _SHIFT))), np.int32)


def _capsule(ends: Array, radii: tuple[float, float]) -> Array:
    along = ends[1] - ends[0]
    heading = np.arctan2(along[1], along[0])
    arc = np.stack((np.cos(_ARC + heading), np.sin(_ARC + heading)), axis=1)
    return np.concatenate((ends[0] + radii[0] * arc, ends[1] - radii[1] * arc))


def palette(codes: str) -> tuple[Color, ...]:
    """Return colours (BGR) for hexadecimal RGB codes, separated by spaces."""
    return tuple((blue, green, red) for red, green, blue in map(bytes.fromhex, codes.split()))


def shaded(color: Color, factor: float) -> Color:
    """Return a darker (factor < 1) or lighter (factor > 1) colour."""
    blue, green, red = (max(0, min(255, round(c * factor))) for c in color)
    return blue, green, red


def blend(first: Color, second: Color, share: float) -> Color:
    """Return the mixture with `share` of the second colour."""
    blue, green, red = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return blue, green, red


def pick(rng: np.random.Generator, colors: Sequence[Color], jitter: float = 10) -> Color:
    """Return one of the colours, with normal noise of deviation `jitter` on each channel."""
    blue, green, red = np.clip(np.array(colors[rng.integers(len(colors))]) + rng.normal(0, jitter, 3), 0, 255)
    return round(blue), round(green), round(red)
