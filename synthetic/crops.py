"""Training crops: the region of one person, moved, scaled, turned and mirrored at random, with its keypoints.

The recipe is MMPose's for top-down training (half body, random box transform, flip) with smaller ranges, because the
scenes themselves vary posture, scale and position, and training is short.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ensemble.geometry import Size, TopDownCrop
from ensemble.keypoints import keypoint_set
from synthetic.dataset import Dataset
from synthetic.effects import decode

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

_SET = keypoint_set("coco_wholebody")
_FLIP = np.array(_SET.flip_indices)
_UPPER = np.array([*range(0, 11), *range(23, 133)])
_LOWER = np.arange(11, 23)
_FROM_ONE_SCENE = 4  # people, so that batches stay mixed
_SHIFT, _SCALE, _TURN_DEG, _TURN_ODDS, _HALF_ODDS = 0.10, (0.8, 1.25), 35.0, 0.25, 0.06


@dataclass(frozen=True)
class Sample:
    """One training crop.

    Attributes:
        crop: (h, w, 3) uint8 BGR.
        points: (133, 2) float32 crop pixels.
        weights: (133,) float32, 1 for annotated keypoints inside the crop, else 0.
    """

    crop: Image
    points: Floats
    weights: Floats


def samples(data: Dataset, rng: np.random.Generator, count: int, size: Size) -> list[Sample]:
    """Return `count` augmented crops of people drawn from a data set; arguments: see `training_crop`."""
    return [
        training_crop(rng, image, data.points[row], data.visible[row], data.bbox_xyxy[row], size)
        for image, row in itertools.islice(people_without_end(data, rng), count)
    ]


def people_without_end(data: Dataset, rng: np.random.Generator) -> Iterator[tuple[Image, int]]:
    """Yield pictures, each with the row of one of its people, drawn from a data set."""
    while True:
        scene = int(rng.integers(len(data)))
        rows = range(data.people_of(scene).start, data.people_of(scene).stop)
        if not rows:
            continue
        image = decode(data.jpeg(scene))
        for row in rng.permutation(rows)[:_FROM_ONE_SCENE]:
            yield image, int(row)


def training_crop(
    rng: np.random.Generator,
    image: Image,
    points: Floats,
    visible: NDArray[np.uint8],
    bbox_xyxy: Floats,
    size: Size,
) -> Sample:
    """Cut one augmented crop of `size` = (w, h).

    Args:
        rng: source of the augmentation.
        image: (H, W, 3) uint8 BGR.
        points: (133, 2) float32 picture pixels.
        visible: (133,) visibility; 0 for keypoints that are not annotated.
        bbox_xyxy: (4,) float32 picture pixels.
        size: size of the crop.
    """
    box = _half_body(rng, points, visible) if rng.random() < _HALF_ODDS else bbox_xyxy
    centers, scales = TopDownCrop(size).regions(box[None])
    center = centers[0] + scales[0] * np.clip(rng.normal(0, _SHIFT / 2, 2), -_SHIFT, _SHIFT)
    scale = scales[0] * np.exp(rng.uniform(*np.log(_SCALE)))
    turn = (
        math.radians(np.clip(rng.normal(0, _TURN_DEG / 2), -_TURN_DEG, _TURN_DEG)) if rng.random() < _TURN_ODDS else 0.0
    )
    mirrored = bool(rng.random() < 0.5)
    matrix = _matrix(center, float(scale[0]), turn, mirrored, size)
    crop = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR)
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    weights = visible > 0
    if mirrored:
        moved, weights = moved[_FLIP], weights[_FLIP]
    weights = weights & ((moved >= 0) & (moved < size)).all(axis=1)
    return Sample(recoloured(rng, crop), moved.astype(np.float32), weights.astype(np.float32))


def _half_body(rng: np.random.Generator, points: Floats, visible: NDArray[np.uint8]) -> Floats:
    """Return the box of the annotated keypoints of the upper or the lower body."""
    rows = _UPPER if rng.random() < 0.7 else _LOWER
    kept = points[rows][visible[rows] > 0]
    if len(kept) < 4:
        kept = points[visible > 0] if (visible > 0).any() else points
    low, high = kept.min(axis=0), kept.max(axis=0)
    margin = 0.1 * (high - low) + 2
    return np.asarray(np.concatenate((low - margin, high + margin)), np.float32)


def _matrix(center: NDArray[np.float64], width: float, turn: float, mirrored: bool, size: Size) -> NDArray[np.float64]:
    """Return the (2, 3) matrix from picture to crop pixels; without turn and mirroring it is MMPose's."""
    zoom = size[0] / width
    turned = zoom * np.array(((math.cos(turn), -math.sin(turn)), (math.sin(turn), math.cos(turn))))
    offset = np.array(size) / 2 - turned @ center
    matrix = np.column_stack((turned, offset))
    if mirrored:
        matrix[0] = -matrix[0]
        matrix[0, 2] += size[0] - 1
    return matrix


def recoloured(rng: np.random.Generator, crop: Image) -> Image:
    """Return the crop with changed contrast and colour balance, sometimes with a covered patch."""
    gain, shift = rng.uniform(0.8, 1.2) * rng.uniform(0.93, 1.07, 3), rng.uniform(-15, 15)
    table = np.clip(np.arange(256)[:, None] * gain + shift, 0, 255).astype(np.uint8)
    crop = np.asarray(cv2.LUT(crop, table[None]), np.uint8)
    if rng.random() < 0.15:
        height, width = crop.shape[:2]
        wide, tall = rng.integers(width // 10, width // 3), rng.integers(height // 10, height // 3)
        left, top = rng.integers(0, width - wide), rng.integers(0, height - tall)
        crop[top : top + tall, left : left + wide] = rng.integers(0, 256, 3)
    return crop
