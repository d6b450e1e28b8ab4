"""Detector output -> the persons of one picture, best score first."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Persons:
    """The persons of one picture.

    Attributes:
        bboxes: (N, 4) float32, left, top, right, bottom in picture pixels, best score first.
        scores: (N,) float32.
        detected: how many there were before `max_persons` cut the list.
    """

    bboxes: Floats
    scores: Floats
    detected: int


def select_persons(
    boxes: Floats, scores: Floats, *, ratio: float, bbox_threshold: float, nms_threshold: float, max_persons: int
) -> Persons:
    """Keep confident boxes, one a person, and map them back to the picture.

    Args:
        boxes: (A, 4) float32 candidates, left, top, right, bottom in letterbox pixels.
        scores: (A,) float32.
        ratio: letterbox pixels per picture pixel.
        bbox_threshold: candidates below this score are dropped.
        nms_threshold: a box that overlaps a better one by more than this IoU is dropped.
        max_persons: at most so many are kept.
    """
    confident = np.flatnonzero(scores >= np.float32(bbox_threshold))
    order = confident[np.argsort(-scores[confident], kind="stable")]  # stable: equal scores keep their order
    kept = order[non_maximum_suppression(boxes[order], nms_threshold)]
    best = kept[:max_persons]
    return Persons(boxes[best] / np.float32(ratio), scores[best], len(kept))


def non_maximum_suppression(bbox_xyxy: Floats, iou_threshold: float) -> NDArray[np.intp]:
    """Return the indices of the boxes that no earlier kept box overlaps by more than `iou_threshold`.

    Args:
        bbox_xyxy: (M, 4) float32, best first.
        iou_threshold: intersection over union, 0 to 1.
    """
    left, top, right, bottom = bbox_xyxy.T
    areas = (right - left) * (bottom - top)
    kept, rest = [], np.arange(len(bbox_xyxy))
    while rest.size:
        best, rest = rest[0], rest[1:]
        kept.append(best)
        widths = np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest])
        heights = np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest])
        intersection = np.maximum(widths, 0) * np.maximum(heights, 0)
        rest = rest[intersection <= iou_threshold * (areas[best] + areas[rest] - intersection)]
    return np.array(kept, np.intp)
