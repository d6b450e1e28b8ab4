"""People who move by rule, and a stand-in for the server that sees them: tests of streams know every number."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from cigpose_client import Poses
from cigpose_client.streams.frame import frame_call, frame_pixels
from cigpose_client.streams.options import StreamOptions
from cigpose_client.streams.tracks import State

SHAPE = np.array(  # 17 keypoints of COCO of a standing person, in a box from (0, 0) to (1, 1)
    [
        *([0.5, 0.08], [0.54, 0.06], [0.46, 0.06], [0.6, 0.07], [0.4, 0.07], [0.75, 0.2], [0.25, 0.2], [0.85, 0.36]),
        *([0.15, 0.36], [0.9, 0.5], [0.1, 0.5], [0.65, 0.52], [0.35, 0.52], [0.66, 0.74], [0.34, 0.74], [0.67, 0.96]),
        [0.33, 0.96],
    ]
)
WIDTH, HEIGHT = 80.0, 200.0


@dataclass
class Walker:
    """A person.

    Attributes:
        left: left edge of the box in pixels, at a time in seconds.
        top: upper edge.
        score: keypoint score, at a time.
        present: whether the detector finds the person, at a time.
        height: of the box in pixels; the width is 0.4 of it.
        clothes: BGR of the upper and the lower half.
    """

    left: Callable[[float], float]
    top: float = 50.0
    score: Callable[[float], float] = lambda time_s: 0.8
    present: Callable[[float], bool] = lambda time_s: True
    height: float = HEIGHT
    clothes: tuple[tuple[int, int, int], tuple[int, int, int]] = ((90, 90, 90), (90, 90, 90))

    def box(self, time_s: float) -> np.ndarray:
        left = self.left(time_s)
        return np.array([left, self.top, left + 0.4 * self.height, self.top + self.height])


@dataclass
class World:
    """Answers requests for one film.

    Attributes:
        walkers: the people, near ones first: given boxes show the nearest to their middle.
        noise: deviation of the keypoints in pixels.
        failures: exceptions to raise before the next answers.
        asked: number of boxes of each request so far; None for one of the detector.
    """

    walkers: list[Walker]
    noise: float = 0.0
    kind: str = "top_down"
    lifter: bool = False
    shuffled: bool = False
    failures: list[Exception] = field(default_factory=list)
    asked: list[int | None] = field(default_factory=list)

    def __post_init__(self):
        self.rng = np.random.default_rng(1)

    def poses(self, time_s: float, boxes: np.ndarray | None) -> Poses:
        self.asked.append(None if boxes is None else len(boxes))
        if self.failures:
            raise self.failures.pop(0)
        if boxes is None:
            seen = [walker for walker in self.walkers if walker.present(time_s)]
            seen = list(self.rng.permutation(np.array(seen, object))) if self.shuffled else seen
        else:
            seen = [self._nearest(box, time_s) for box in boxes]
        found = np.array([walker.box(time_s) for walker in seen]).reshape(-1, 4)
        size = found[:, None, 2:] - found[:, None, :2]
        keypoints = found[:, None, :2] + SHAPE * size + self.rng.normal(0, self.noise, (len(seen), 17, 2))
        return Poses(
            bboxes=np.float32(found if boxes is None else boxes).reshape(-1, 4),
            bbox_scores=np.full(len(seen), 0.9 if boxes is None else 1.0, np.float32),
            persons_detected=len(seen),
            keypoints=np.float32(keypoints),
            keypoint_scores=np.float32([[walker.score(time_s)] * 17 for walker in seen]).reshape(-1, 17),
            set_name="coco",
            kind=self.kind,
            keypoints_3d=np.float32(np.dstack([keypoints, keypoints[..., :1]]) / 100) if self.lifter else None,
        )

    def picture(self, time_s: float) -> np.ndarray:
        """Return the (300, 1000, 3) BGR pixels of the frame: each person fills the box."""
        image_bgr = np.full((300, 1000, 3), 200, np.uint8)
        for walker in reversed(self.walkers):
            left, top, right, bottom = np.round(walker.box(time_s)).astype(int)
            columns, waist = slice(max(left, 0), max(right, 0)), (top + bottom) // 2
            image_bgr[top:waist, columns], image_bgr[waist:bottom, columns] = walker.clothes
        return image_bgr

    def _nearest(self, box: np.ndarray, time_s: float) -> Walker:
        middle = (box[:2] + box[2:]) / 2
        apart = [np.linalg.norm((w.box(time_s)[:2] + w.box(time_s)[2:]) / 2 - middle) for w in self.walkers]
        return self.walkers[int(np.argmin(np.round(apart, 3)))]


class Stream:
    """A stream of `world` without clients."""

    def __init__(self, world: World, **options):
        self.world = world
        self.options = StreamOptions(**{"smooth": False} | options)
        self.state = State()

    def update(self, time_s: float, image: np.ndarray | bytes | None = None) -> Poses:
        pixels = None if image is None else frame_pixels(self.state, self.options, image, bytes(image))

        def ask(boxes):
            return self.world.poses(time_s, boxes)
            yield

        call = frame_call(self.state, time_s, self.options, ask, pixels)
        try:
            next(call)
        except StopIteration as stop:
            self.state, poses = stop.value
        return poses


def times(count: int, rate: float = 25.0) -> list[float]:
    """Return the times of the first frames."""
    return [index / rate for index in range(count)]
