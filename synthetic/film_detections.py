"""Detections of films without rendering and networks: the truth with errors of the usual kinds, for tests of ids."""

from dataclasses import dataclass

import numpy as np
from cigpose_client import Poses
from numpy.typing import NDArray

from synthetic.films import SIZE, Film

Array = NDArray[np.float64]

_MARGIN = 0.03  # of the box beyond the keypoints, in heights of the box
_BOX_NOISE = 0.015  # deviation of an edge of a box, in roots of its area
_POINT_NOISE = 0.012  # of a keypoint
_HIDDEN_NOISE = 0.06  # of a keypoint that a nearer person covers
_MISSED = 0.02  # share of clearly visible people whom the detector misses
_SEEN, _CLEAR = 0.25, 0.6  # visible share below which nobody, and from which on everybody is found
_NMS = 0.7  # IoU above which the detector drops the lower score


@dataclass(frozen=True)
class Detected:
    """One frame.

    Attributes:
        time_s: its time.
        track_ids: (P,) of the people who can be seen.
        bboxes: (P, 4) their boxes, xyxy pixels.
        keypoints: (P, 17, 2) theirs, of the body.
        visible: (P, 17) which of these can be seen.
        poses: the detections.
        picture: the encoded frame; empty if nothing was rendered.
    """

    time_s: float
    track_ids: NDArray[np.int64]
    bboxes: Array
    keypoints: Array
    visible: NDArray[np.bool_]
    poses: Poses
    picture: bytes = b""


def detections(film: Film) -> list[Detected]:
    """Return the detections in every frame of a film; the same film gives the same ones."""
    rng = np.random.default_rng(film.seed)
    return [_detected(rng, film, time_s) for time_s in film.times]


def _detected(rng: np.random.Generator, film: Film, time_s: float) -> Detected:
    outlines = film.outlines(time_s)
    points = np.array([outline[:17] for _, outline in outlines])
    boxes = np.array([_box(outline) for _, outline in outlines])
    shares = np.array([_share(boxes, row) for row in range(len(boxes))])
    inside = np.minimum(boxes[:, 2:], SIZE) - np.maximum(boxes[:, :2], 0)
    shares = shares * (np.prod(np.maximum(inside, 0), axis=1) / np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    truth = np.flatnonzero(shares > 0.1)
    chance = np.clip((shares - _SEEN) / (_CLEAR - _SEEN), 0, 1) * (1 - _MISSED)
    found = np.flatnonzero(rng.random(len(shares)) < chance)
    clipped = np.clip(boxes, 0, np.tile(SIZE, 2))
    return Detected(
        time_s,
        np.array([outlines[row][0] for row in truth], np.int64),
        clipped[truth],
        points[truth],
        ((points[truth] >= 0) & (points[truth] <= SIZE)).all(axis=2),
        _poses(rng, points[found], clipped[found], shares[found]),
    )


def _poses(rng: np.random.Generator, points: Array, boxes: Array, shares: Array) -> Poses:
    size = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))[:, None]
    boxes = boxes + rng.normal(0, _BOX_NOISE, boxes.shape) * size
    hidden = rng.random(points.shape[:2]) > shares[:, None]
    noise = np.where(hidden, _HIDDEN_NOISE, _POINT_NOISE) * size
    scores = np.clip(0.5 + 0.45 * shares + rng.normal(0, 0.04, len(shares)), 0.3, 0.97)
    kept = _suppressed(boxes, scores)
    return Poses(
        bboxes=boxes[kept].astype(np.float32),
        bbox_scores=scores[kept].astype(np.float32),
        persons_detected=len(kept),
        keypoints=(points + rng.normal(0, 1, points.shape) * noise[..., None])[kept].astype(np.float32),
        keypoint_scores=np.where(hidden, 0.35, 0.85)[kept].astype(np.float32),
        set_name="coco",
        kind="top_down",
    )


def _suppressed(boxes: Array, scores: Array) -> NDArray[np.intp]:
    """Return the rows that remain, best score first."""
    kept: list[int] = []
    for row in np.argsort(-scores).tolist():
        if all(_overlap(boxes[row], boxes[other])[1] < _NMS for other in kept):
            kept.append(row)
    return np.array(kept, np.intp)


def _box(points: Array) -> Array:
    low, high = points.min(axis=0), points.max(axis=0)
    margin = _MARGIN * (high[1] - low[1])
    return np.concatenate((low - margin, high + margin))


def _share(boxes: Array, row: int) -> float:
    """Return the share of a box that the nearest of the later ones leaves visible."""
    return 1 - max((_overlap(boxes[row], nearer)[0] for nearer in boxes[row + 1 :]), default=0.0)


def _overlap(box: Array, other: Array) -> tuple[float, float]:
    """Return the intersection as a share of `box`, and the IoU."""
    sides = np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None)
    common, areas = float(np.prod(sides)), [float(np.prod(each[2:] - each[:2])) for each in (box, other)]
    return common / max(areas[0], 1e-9), common / max(sum(areas) - common, 1e-9)
