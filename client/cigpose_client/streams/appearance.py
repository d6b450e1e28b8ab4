"""Appearance: the colours of clothes and skin. They tell people apart who overlap or return."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cigpose_client._extras import opencv
from cigpose_client._image import Image
from cigpose_client._poses import Poses
from cigpose_client.streams.association import Array, sizes
from cigpose_client.streams.smoothing import score_weights

Mask: TypeAlias = npt.NDArray[np.bool_]

_JOINTS = tuple(
    f"{side}_{joint}" for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for side in ("left", "right")
)
_SHOULDERS, _ELBOWS, _WRISTS, _HIPS, _KNEES, _ANKLES = ((row, row + 1) for row in range(0, 12, 2))
_CHEST, _BELLY, _ACROSS = (0.15, 0.3, 0.45), (0.55, 0.7, 0.85), (0.2, 0.4, 0.6, 0.8)  # shares from joint to joint
_ALONG = (0.15, 0.29, 0.43, 0.57, 0.71, 0.85)
_POINTS = 12  # of each part
_FEWEST = 4  # points outside of other people's boxes, from which on the others are left out
_CLEAR = 0.7  # share of such points from which on a part is learned
_COVERED = 0.5  # weight of a point inside of another person's box
_SPREAD = 0.2  # distance of two colours that are the same, in units of `_features`
_ENOUGH = 3.0  # parts that decide; with fewer, appearance counts less
_MEMORY_S = 0.8  # time constant of the colours
_SMALL = 48.0  # pixels of the smallest person's size that remain in a reduced picture
_REDUCTIONS = (8, 4, 2)


@dataclass(frozen=True, eq=False)
class Pixels:
    """A picture, or a smaller one.

    Attributes:
        image_bgr: (H, W, 3) uint8.
        reduction: pixels of the whole picture for one of these, in each direction.
    """

    image_bgr: npt.NDArray[np.uint8]
    reduction: int = 1


@dataclass(frozen=True, eq=False)
class Looks:
    """The appearance of N people in one frame, in P parts.

    Attributes:
        colours: (N, P, 3) lightness and two chromaticities, see `_features`.
        weights: (N, P) 0 to 1; 0 for parts out of the picture.
        clear: (N, P) the same, but 0 for parts that somebody else may cover.
    """

    colours: Array
    weights: Array
    clear: Array


def pixels_of(image: Image, picture: bytes, bboxes_xyxy: Array) -> Pixels | None:
    """Return a copy of a picture, reduced as far as the people in it allow.

    Args:
        image: as the caller passed it; an array needs no decoding.
        picture: the same, encoded.
        bboxes_xyxy: (N, 4) boxes of people, N at least 1.

    Returns:
        None without OpenCV, and if it cannot read the picture.
    """
    smallest = float(sizes(bboxes_xyxy).min())
    reduction = next((each for each in _REDUCTIONS if smallest >= _SMALL * each), 1)
    if isinstance(image, np.ndarray):
        return Pixels(image[::reduction, ::reduction].copy(), reduction)
    return _decoded(picture, reduction)


def _decoded(picture: bytes, reduction: int) -> Pixels | None:
    try:
        cv2 = opencv("comparing appearance")
    except ImportError:
        return None
    flag = cv2.IMREAD_COLOR if reduction == 1 else getattr(cv2, f"IMREAD_REDUCED_COLOR_{reduction}")
    try:
        image_bgr: Any = cv2.imdecode(np.frombuffer(picture, np.uint8), flag)
    except cv2.error:
        return None
    return None if image_bgr is None else Pixels(image_bgr, reduction)


def looks(pixels: Pixels | None, poses: Poses) -> Looks:
    """Return the appearance of the people of an answer; all weights are 0 without pixels or limbs."""
    rows = _rows(poses)
    if pixels is None or rows is None or not len(poses):
        nothing = np.zeros((len(poses), len(_PARTS)))
        return Looks(np.zeros((*nothing.shape, 3)), nothing, nothing)
    points = _SAMPLES @ poses.keypoints[:, rows].astype(np.float64)
    colours, inside = _sampled(pixels, points)
    free = inside & ~_in_others(points, poses.bboxes.astype(np.float64))
    shape = (len(poses), len(_PARTS), _POINTS)
    colours, inside, free = colours.reshape(*shape, 3), inside.reshape(shape), free.reshape(shape)
    used = np.where(free.sum(axis=2, keepdims=True) >= _FEWEST, free, inside)
    scores = score_weights(poses.keypoint_scores.astype(np.float64))[:, rows] @ _SAMPLES.T
    scores = scores.reshape(shape).mean(axis=2)
    weights = scores * np.where(free, 1.0, _COVERED * inside).mean(axis=2)
    return Looks(_medians(colours, used), weights, np.where(free.mean(axis=2) >= _CLEAR, scores, 0.0))


def alike(colours: Array, weights: Array, seen: Looks) -> Array:
    """Return (T, N): 1 for the same appearance, -1 for another one, and 0 where nothing can be compared.

    Args:
        colours: (T, P, 3) of known people.
        weights: (T, P) of these.
        seen: the appearance of N people.
    """
    square = ((colours[:, None] - seen.colours[None]) ** 2).sum(axis=3)
    common = weights[:, None] * seen.weights[None]
    total = common.sum(axis=2)
    same = (np.exp(-square / _SPREAD**2) * common).sum(axis=2) / np.maximum(total, 1e-9)
    return np.asarray((2 * same - 1) * np.minimum(total / _ENOUGH, 1.0))


def learned(colours: Array, weights: Array, now: Array, clear: Array, dt_s: Array) -> tuple[Array, Array]:
    """Return the colours and weights of known people after another frame; parts that are not clear stay.

    Args:
        colours: (N, P, 3) before.
        weights: (N, P) before; 0 for parts never seen.
        now: (N, P, 3) colours of this frame.
        clear: (N, P) their weights.
        dt_s: (N,) seconds since the person was last seen.
    """
    usual = np.broadcast_to(1 - np.exp(-dt_s / _MEMORY_S)[:, None], weights.shape)
    gains = np.where(clear > 0, np.where(weights > 0, usual, 1.0), 0.0)[..., None]
    return np.asarray(colours + gains * (now - colours)), np.maximum(weights, clear)


def _rows(poses: Poses) -> list[int] | None:
    """Return the rows of the 12 limb joints; None for keypoints without them."""
    known = poses.keypoint_set
    if known is None or not set(_JOINTS) <= set(known.names):
        return None
    return [known.names.index(name) for name in _JOINTS]


def _sampled(pixels: Pixels, points: Array) -> tuple[Array, Mask]:
    """Return the colours (N, M, 3) at (N, M, 2) points of the whole picture, and which lie in it."""
    height, width = pixels.image_bgr.shape[:2]
    last = np.array((width - 1, height - 1))
    places = np.floor(points / pixels.reduction)
    inside = ((places >= 0) & (places <= last)).all(axis=2)
    columns, lines = np.moveaxis(np.clip(np.nan_to_num(places), 0, last).astype(np.intp), 2, 0)
    return _features(pixels.image_bgr[lines, columns]), inside


def _features(bgr: npt.NDArray[np.uint8]) -> Array:
    """Return lightness and two chromaticities (..., 3) of uint8 colours.

    Chromaticities are differences of channels as a share of their mean: they change little with the light.
    """
    blue, green, red = np.moveaxis(bgr.astype(np.float64) / 255, -1, 0)
    mean = (blue + green + red) / 3
    chroma = 0.35 / (mean + 0.15)
    return np.stack([0.7 * np.sqrt(mean), chroma * (red - green), chroma * ((red + green) / 2 - blue)], axis=-1)


def _in_others(points: Array, bboxes_xyxy: Array) -> Mask:
    """Return which of the (N, M, 2) points lie in a box of another person."""
    low, high = bboxes_xyxy[None, :, None, :2], bboxes_xyxy[None, :, None, 2:]
    covered = ((points[:, None] >= low) & (points[:, None] <= high)).all(axis=3)
    covered[np.arange(len(points)), np.arange(len(points))] = False
    return np.asarray(covered.any(axis=1))


def _medians(values: Array, used: Mask) -> Array:
    """Return the upper medians (N, P, 3) of those of the (N, P, M, 3) values that are used; 0 where none is."""
    counts = used.sum(axis=2)
    ordered = np.sort(np.where(used[..., None], values, np.inf), axis=2)
    middle = np.take_along_axis(ordered, (counts // 2)[..., None, None], axis=2)[:, :, 0]
    return np.where(counts[..., None] > 0, middle, 0.0)


def _samples() -> tuple[tuple[Array, ...], Array]:
    """Return for each part the shares (M, 12) of the joints in its points, and those of all parts as one array."""
    joints = np.eye(len(_JOINTS))

    def between(near: Array, far: Array, shares: Sequence[float]) -> Array:
        return np.array([(1 - share) * near + share * far for share in shares])

    def limbs(near: Sequence[int], far: Sequence[int]) -> Array:
        return np.vstack([between(joints[near[side]], joints[far[side]], _ALONG) for side in (0, 1)])

    def torso(shares: Sequence[float]) -> Array:
        left, right = (between(joints[_SHOULDERS[side]], joints[_HIPS[side]], shares) for side in (0, 1))
        return np.vstack([between(*pair, _ACROSS) for pair in zip(left, right, strict=True)])

    ends = ((_HIPS, _KNEES), (_KNEES, _ANKLES), (_SHOULDERS, _ELBOWS), (_ELBOWS, _WRISTS))
    parts = (torso(_CHEST), torso(_BELLY), *(limbs(near, far) for near, far in ends))
    return parts, np.vstack(parts)


_PARTS, _SAMPLES = _samples()
