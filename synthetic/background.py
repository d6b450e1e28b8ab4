"""Cluttered backgrounds: sky or wall, ground, and objects."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.layer import Color, Layer, palette, pick, shaded

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_FAR = palette("aacdeb d2d7d7 b9aa96 6e8278 4b4646 e1c8be 323c5a")
_GROUND = palette("6e695f 4b6e3c bea078 7d5a46 b9b4af 3c3732")
_THINGS = palette("413c3c cdc8c8 325a2d 82553c 5a6e8c 963228 3278a0 dcbe5a d7b496")


def paint_background(rng: np.random.Generator, size: tuple[int, int], horizon: float) -> Image:
    """Return a picture (h, w, 3) BGR without people; `horizon` is in pixels from the top."""
    image = _ground_and_far(rng, size, horizon)
    layer = Layer(size, np.zeros(2), 1.0)
    for _ in range(rng.integers(4, 34)):
        depth = rng.beta(1.2, 2.5)
        foot = np.array((rng.uniform(0, size[0]), horizon + depth * (size[1] - horizon)))
        thing = _PAINTERS[rng.integers(len(_PAINTERS))]
        thing(layer, rng, foot, (0.08 + 0.5 * depth) * size[1] * rng.uniform(0.4, 1.6))
    return blend_over(image, layer.bgra)


def paint_object(rng: np.random.Generator, layer: Layer, foot: Array, height: float) -> None:
    """Draw one object of a kind that may hide people."""
    _FRONT_PAINTERS[rng.integers(len(_FRONT_PAINTERS))](layer, rng, foot, height)


def blend_over(image: Image, bgra: Image) -> Image:
    """Return the premultiplied `bgra` (h, w, 4) blended over `image` (h, w, 3)."""
    keep = cv2.cvtColor(255 - bgra[:, :, 3], cv2.COLOR_GRAY2BGR)
    return np.asarray(cv2.add(cv2.multiply(image, keep, scale=1 / 255), bgra[:, :, :3]), np.uint8)


def _ground_and_far(rng: np.random.Generator, size: tuple[int, int], horizon: float) -> Image:
    width, height = size
    small = np.empty((height // 4, width // 4, 3), np.float32)
    line = int(np.clip(horizon / 4, 1, len(small) - 1))
    for rows, colors in ((slice(0, line), _FAR), (slice(line, None), _GROUND)):
        first, last = np.array(pick(rng, colors, 14)), np.array(pick(rng, colors, 14))
        ramp = np.linspace(0, rng.uniform(0, 0.7), len(small[rows]))[:, None, None]
        small[rows] = first + ramp * (last - first)
    for cell in (48, 12, 3):
        grid = rng.normal(0, rng.uniform(2, 11), (height // 4 // cell + 2, width // 4 // cell + 2)).astype(np.float32)
        small += cv2.resize(grid, small.shape[1::-1], interpolation=cv2.INTER_LINEAR)[:, :, None]
    return np.asarray(cv2.resize(np.clip(small, 0, 255).astype(np.uint8), size, interpolation=cv2.INTER_LINEAR))


def _box(layer: Layer, rng: np.random.Generator, foot: Array, height: float) -> None:
    wide, color = height * rng.uniform(0.3, 1.4), pick(rng, _THINGS, 20)
    corners = np.array(((-0.5, 0), (-0.5, -1), (0.5, -1), (0.5, 0))) * (wide, height) + foot
    layer.polygon(corners, color)
    layer.polygon(
        corners[[0, 1]].repeat(2, axis=0) + np.array(((0, 0), (0.2 * wide, 0), (0.2 * wide, 0), (0, 0))),
        shaded(color, 0.7),
    )
    if rng.random() < 0.5:
        _windows(layer, rng, corners, shaded(color, rng.uniform(0.5, 1.6)))


def _windows(layer: Layer, rng: np.random.Generator, corners: Array, color: Color) -> None:
    rows, columns = rng.integers(1, 5), rng.integers(1, 5)
    step = (corners[2] - corners[0]) / (columns, rows)
    pane = np.array(((0.2, 0.2), (0.2, 0.8), (0.8, 0.8), (0.8, 0.2))) * step
    for row in range(rows):
        for column in range(columns):
            layer.polygon(corners[0] + (column, row) * step + pane, color)


def _post(layer: Layer, rng: np.random.Generator, foot: Array, height: float) -> None:
    top = foot - (0, height * rng.uniform(1.0, 2.2))
    radius, color = height * rng.uniform(0.015, 0.05), pick(rng, _THINGS, 20)
    layer.capsule(np.stack((foot, top)), (radius, 0.7 * radius), color)
    layer.disc(top, radius * rng.uniform(1, 5), shaded(color, rng.uniform(0.7, 1.5)))


def _tree(layer: Layer, rng: np.random.Generator, foot: Array, height: float) -> None:
    crown = foot - (0, height * rng.uniform(0.9, 1.4))
    layer.capsule(np.stack((foot, crown)), (0.06 * height, 0.04 * height), pick(rng, ((45, 65, 90),)))
    green = pick(rng, ((45, 105, 55), (40, 85, 90), (60, 130, 90)))
    for _ in range(9):
        center = crown + rng.normal(0, 0.2, 2) * height
        layer.disc(center, height * rng.uniform(0.1, 0.28), shaded(green, rng.uniform(0.65, 1.25)))


def _ball(layer: Layer, rng: np.random.Generator, foot: Array, height: float) -> None:
    radius, color = 0.3 * height * rng.uniform(0.3, 1.0), pick(rng, _THINGS, 25)
    layer.disc(foot - (0, radius), radius, shaded(color, 0.75))
    layer.disc(foot - (0.2 * radius, 1.2 * radius), 0.6 * radius, color)


def _table(layer: Layer, rng: np.random.Generator, foot: Array, height: float) -> None:
    wide, tall, color = height * rng.uniform(0.5, 1.3), height * rng.uniform(0.35, 0.6), pick(rng, _THINGS, 20)
    for x in (-0.45, 0.45):
        layer.capsule(
            np.stack((np.add(foot, (x * wide, 0)), np.add(foot, (x * wide, -tall)))),
            (0.02 * height, 0.025 * height),
            shaded(color, 0.6),
        )
    layer.polygon(
        foot + np.array(((-0.55, 0), (-0.45, -0.16), (0.45, -0.16), (0.55, 0))) * (wide, height) - (0, tall), color
    )


def _stick(layer: Layer, rng: np.random.Generator, foot: Array, height: float) -> None:
    """Draw a bar that resembles a limb, so that the detector does not take a limb for a person."""
    ends = foot - (0, 0.5 * height) + rng.normal(0, 0.25, (2, 2)) * height
    color = pick(rng, (*_THINGS, (140, 172, 218), (75, 105, 155)), 15)
    layer.capsule(ends, (0.06 * height, 0.04 * height), shaded(color, 0.75))
    layer.capsule(ends, (0.045 * height, 0.03 * height), color)


def _scribble(layer: Layer, rng: np.random.Generator, foot: Array, height: float) -> None:
    points = foot - (0, 0.6 * height) + np.cumsum(rng.normal(0, 0.12, (8, 2)), axis=0) * height
    layer.line(points, height * rng.uniform(0.005, 0.03), pick(rng, _THINGS, 25))


def _shard(layer: Layer, rng: np.random.Generator, foot: Array, height: float) -> None:
    layer.hull(foot + rng.normal(0, 0.35, (5, 2)) * height, pick(rng, _THINGS, 25))


Painter = Callable[[Layer, np.random.Generator, Array, float], None]
_PAINTERS: tuple[Painter, ...] = (_box, _box, _post, _tree, _ball, _table, _stick, _scribble, _shard)
_FRONT_PAINTERS: tuple[Painter, ...] = (_box, _post, _tree, _table, _table)
