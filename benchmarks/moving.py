"""A film of rendered people who walk through one scene: frames for tests and measurements of video."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.background import blend_over, paint_background
from synthetic.body import Build, pose_body, sample_build
from synthetic.camera import View, sample_view
from synthetic.layer import Layer
from synthetic.looks import Looks, sample_looks
from synthetic.paint_figure import paint_figure
from synthetic.posture import Posture, sample_posture, within_limits

Image = NDArray[np.uint8]
_SECONDS_A_POSTURE = 1.0


def film(count: int, *, size: tuple[int, int] = (640, 480), people: int = 3, rate: float = 25.0) -> Iterator[Image]:
    """Yield `count` frames (h, w, 3) uint8 BGR of people who cross the picture and change their posture every second.

    Args:
        count: of frames.
        size: (w, h) of a frame.
        people: in the scene; the same number gives the same film.
        rate: frames a second, which says how far they move from one to the next.
    """
    rng = np.random.default_rng(people)
    background = paint_background(rng, size, 0.4 * size[1])
    walkers = [_Walker(rng, size, column=(i + 0.5) / people) for i in range(people)]
    for index in range(count):
        image = background.copy()
        for walker in walkers:
            image = blend_over(image, walker.painted(index / rate).bgra)
        yield image


class _Walker:
    """One person: build, looks, a way through the picture, and postures to change between."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int], column: float):
        self._size = size
        self._build: Build = sample_build(rng)
        self._looks: Looks = sample_looks(rng)
        self._postures = [sample_posture(rng) for _ in range(8)]
        self._view = sample_view(rng, size[1] * rng.uniform(0.45, 0.6), pitch=0.1)
        self._column = column
        self._speed = rng.uniform(0.05, 0.15) * rng.choice((-1, 1))  # widths of the picture a second

    def painted(self, time_s: float) -> Layer:
        """Return the figure on a transparent picture."""
        wide, tall = self._size
        column = abs((self._column + self._speed * time_s) % 2 - 1)  # to the edge and back
        origin = np.array((wide * (0.1 + 0.8 * column), 0.6 * tall))
        step, share = divmod(time_s / _SECONDS_A_POSTURE, 1.0)
        first, second = (self._postures[(int(step) + i) % len(self._postures)] for i in range(2))
        layer = Layer(self._size, np.zeros(2), 1.0)
        view = View(self._view.rotation, self._view.scale, origin, self._view.distance)
        paint_figure(layer, pose_body(self._build, _blend(first, second, share)), view, self._looks)
        return layer


def _blend(first: Posture, second: Posture, share: float) -> Posture:
    """Return the posture on the way from one to the other."""
    angles = {name: (1 - share) * value + share * vars(second)[name] for name, value in vars(first).items()}
    return within_limits(Posture(**angles))


def save(path: str, frames: Iterator[Image], rate: float = 25.0) -> None:
    """Write frames of one size as a video; the ending says the container, the codec is MPEG-4 part 2.

    Raises:
        ValueError: OpenCV cannot write it.
    """
    writer: Any = None
    codec: int = cv2.VideoWriter.fourcc(*"mp4v")
    for frame in frames:
        if writer is None:
            writer = cv2.VideoWriter(path, codec, rate, frame.shape[1::-1])
            if not writer.isOpened():
                raise ValueError(f"{path} cannot be written as a video")
        writer.write(frame)
    if writer is not None:
        writer.release()
