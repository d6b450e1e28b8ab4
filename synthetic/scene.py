"""A rendered picture with people, partly hidden by objects and each other, and the exact truth about them."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ensemble.keypoints.human36m import ROOT, STATURE_M, to_human36m
from synthetic.background import blend_over, paint_background, paint_object
from synthetic.body import Body, pose_body, sample_build
from synthetic.camera import View, sample_view
from synthetic.effects import encode_jpeg, photograph
from synthetic.layer import Layer
from synthetic.looks import Looks, sample_looks
from synthetic.paint_figure import own_visibility, paint_figure
from synthetic.posture import sample_posture

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Image = NDArray[np.uint8]

_SIZES = ((640, 480), (640, 480), (640, 427), (480, 640), (512, 512), (800, 600))
_PEOPLE_ODDS = (0.06, 0.24, 0.19, 0.14, 0.10, 0.07, 0.06, 0.04, 0.03, 0.02, 0.02, 0.015, 0.015)
_SMALLEST = 66.0  # pixels per stature
_DETAIL = 220.0  # pixels per stature; smaller people are drawn at about this size and then reduced
_MIN_SHARE, _MIN_PIXELS = 0.25, 160  # people with less than this visible are left out of the scene


@dataclass(frozen=True)
class Person:
    """The truth about one person.

    Attributes:
        points: (133, 2) pixels, exact for hidden keypoints, too.
        visible: (133,) 2 visible, 1 hidden, 0 outside the picture.
        bbox_xyxy: (4,) box around the visible pixels of the person.
        area: number of visible pixels of the person.
        joints_3d: (17, 3) of Human3.6M in metres from the root, x right, y down, z away, as if everybody were
            `STATURE_M` tall.
    """

    points: Array
    visible: NDArray[np.int64]
    bbox_xyxy: Array
    area: int
    joints_3d: Array


@dataclass(frozen=True)
class Scene:
    """One picture and the people in it.

    Attributes:
        jpeg: the encoded picture.
        size: (w, h).
        people: far to near.
    """

    jpeg: bytes
    size: tuple[int, int]
    people: tuple[Person, ...]


@dataclass(frozen=True)
class Item:
    """A figure or an object: its pixels in `window`, and for a figure its keypoints and their own visibility.

    The keypoints are in pixels, and in camera axes in statures.
    """

    bgra: Image
    window: tuple[slice, slice]
    points: Array | None = None
    own: Mask | None = None
    space: Array | None = None


def render_scene(seed: int, people: int | None = None) -> Scene:
    """Render one scene; the same arguments give the same bytes.

    Args:
        seed: seed of everything in the scene.
        people: number of figures to place; None draws 0 to 12. Figures that are almost hidden are left out.
    """
    rng = np.random.default_rng(seed)
    size = _SIZES[rng.integers(len(_SIZES))]
    drawn = int(rng.choice(len(_PEOPLE_ODDS), p=_PEOPLE_ODDS))
    count = drawn if people is None else people
    horizon = size[1] * rng.uniform(0.2, 0.55)
    image = paint_background(rng, size, horizon)
    items = _with_objects(rng, _figures(rng, size, horizon, count), size)
    shown, truth = _resolve(items, size)
    for item in shown:
        image[item.window] = blend_over(image[item.window], item.bgra)
    return Scene(encode_jpeg(rng, photograph(rng, image)), size, truth)


def _figures(rng: np.random.Generator, size: tuple[int, int], horizon: float, count: int) -> list[Item]:
    """Return painted people, far to near."""
    largest = size[1] * (1.15 if count <= 2 else 0.95 if count <= 5 else 0.65)
    scales = np.sort(np.exp(rng.uniform(np.log(_SMALLEST), np.log(largest), count)))
    eye_level, pitch = rng.uniform(0.75, 1.3), rng.uniform(-0.08, 0.35)
    items: list[Item] = []
    boxes: list[Array] = []
    for scale in scales:
        body, view = pose_body(sample_build(rng), sample_posture(rng)), sample_view(rng, scale, pitch)
        pixels = view.project(body.points)[0]
        box = np.concatenate((pixels.min(axis=0), pixels.max(axis=0)))
        shift = _free_place(rng, box, boxes, size, (horizon, horizon + eye_level * scale))
        boxes.append(box + np.tile(shift, 2))
        looks = sample_looks(rng)
        item = paint_person(rng, body, View(view.rotation, scale, shift, view.distance), size, looks)
        if item is not None:
            items.append(item)
    return items


def _free_place(
    rng: np.random.Generator, box: Array, taken: list[Array], size: tuple[int, int], ground: tuple[float, float]
) -> Array:
    """Return a position for a person's pelvis (2,) that covers few other people.

    `box` is the person's box with the pelvis at (0, 0). `ground` is the row of the horizon, and the row on which a
    person of this size stands if all are equally tall.
    """
    shift = np.zeros(2)
    tall = box[3] - box[1]
    for _ in range(8):
        foot = ground[1] if rng.random() < 0.45 else rng.uniform(ground[0] + 0.15 * tall, size[1] + 0.3 * tall)
        foot = min(foot, size[1] + 0.55 * tall)
        shift = np.array((rng.uniform(0.02, 0.98) * size[0] - (box[0] + box[2]) / 2, foot - box[3]))
        moved = box + np.tile(shift, 2)
        if all(_overlap(moved, other) < 0.5 for other in taken):
            break
    return shift


def _overlap(first: Array, second: Array) -> float:
    """Return the area of the intersection of two boxes, divided by that of the smaller box."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    smaller = min(np.prod(first[2:] - first[:2]), np.prod(second[2:] - second[:2]))
    return float(np.prod(np.clip(sides, 0, None)) / max(1.0, smaller))


def paint_person(rng: np.random.Generator, body: Body, view: View, size: tuple[int, int], looks: Looks) -> Item | None:
    """Return the painted person, in the part of the scene that it covers; None if that part is empty."""
    points = view.project(body.points)[0]
    margin = 0.12 * view.scale
    low = np.maximum(np.floor(points.min(axis=0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(points.max(axis=0) + margin), size).astype(int)
    if (high - low < 4).any():
        return None
    detail = max(1, round(_DETAIL / view.scale))
    wide, tall = ((high - low) * detail).tolist()
    layer = Layer((wide, tall), low.astype(np.float64), detail)
    paint_figure(layer, body, view, looks)
    bgra = _light(rng, layer.bgra)
    if detail > 1:
        bgra = np.asarray(cv2.resize(bgra, tuple((high - low).tolist()), interpolation=cv2.INTER_AREA), np.uint8)
    own, space = own_visibility(layer, body, view), view.seen_in_space(body.points)
    return Item(bgra, _window(low, high), points, own, space)


def _light(rng: np.random.Generator, bgra: Image) -> Image:
    """Return the layer with uneven light and the grain of cloth."""
    height, width = bgra.shape[:2]
    coarse = rng.uniform(0.72, 1.0, (3, 3)).astype(np.float32)
    grain = rng.normal(0, 0.03, (max(3, height // 8), max(3, width // 8))).astype(np.float32)
    light = cv2.resize(coarse, (width, height)) + cv2.resize(grain, (width, height))
    factor = cv2.cvtColor(np.clip(light * 255, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    return np.dstack((cv2.multiply(bgra[:, :, :3], factor, scale=1 / 255), bgra[:, :, 3]))


def _with_objects(rng: np.random.Generator, figures: list[Item], size: tuple[int, int]) -> list[Item]:
    """Return the figures, with objects in front of some of them."""
    items = list(figures)
    for _ in range(int(rng.choice(4, p=(0.5, 0.28, 0.14, 0.08)))):
        foot = np.array((rng.uniform(0, size[0]), rng.uniform(0.6, 1.1) * size[1]))
        layer = Layer(size, np.zeros(2), 1.0)
        paint_object(rng, layer, foot, size[1] * rng.uniform(0.15, 0.4))
        whole = (slice(0, size[1]), slice(0, size[0]))
        items.insert(int(rng.integers(0, len(items) + 1)), Item(layer.bgra, whole))
    return items


def _resolve(items: list[Item], size: tuple[int, int]) -> tuple[list[Item], tuple[Person, ...]]:
    """Return the shown items and the truth about the people, both far to near, without almost hidden people."""
    covered = np.zeros((size[1], size[0]), bool)
    shown: list[Item] = []
    people: list[Person] = []
    for item in reversed(items):
        solid = item.bgra[:, :, 3] > 127
        seen = solid & ~covered[item.window]
        if item.points is not None:
            if seen.sum() < max(_MIN_PIXELS, _MIN_SHARE * solid.sum()):
                continue
            people.append(truth_of(item, seen, covered))
        shown.append(item)
        covered[item.window] |= solid
    return shown[::-1], tuple(people[::-1])


def truth_of(item: Item, seen: Mask, covered: Mask) -> Person:
    """Return the truth about a figure.

    Args:
        item: the figure.
        seen: the pixels of its window that show it, at least one.
        covered: the pixels of the picture that nearer figures and objects cover.

    Raises:
        ValueError: the item is an object.
    """
    points, own, space, window = item.points, item.own, item.space, item.window
    if points is None or own is None or space is None:
        raise ValueError("an object has no keypoints")
    height, width = covered.shape
    nearest = np.rint(points).astype(int)
    inside = ((points >= 0) & (points <= (width - 1, height - 1))).all(axis=1)
    x, y = np.clip(nearest[:, 0], 0, width - 1), np.clip(nearest[:, 1], 0, height - 1)
    visible = np.where(inside, np.where(own & ~covered[y, x], 2, 1), 0)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    top, left = window[0].start, window[1].start
    box = np.array((columns[0] + left, rows[0] + top, columns[-1] + 1 + left, rows[-1] + 1 + top), np.float64)
    joints = STATURE_M * to_human36m(space[None].astype(np.float32), "coco_wholebody")[0]
    return Person(points, visible.astype(np.int64), box, int(seen.sum()), joints - joints[ROOT])


def _window(low: NDArray[np.int64], high: NDArray[np.int64]) -> tuple[slice, slice]:
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
