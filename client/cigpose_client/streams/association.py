"""Association: which of the people in a frame is which of the known ones."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cigpose_client._extras import linear_sum_assignment

Array: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.intp]

_EPSILON = 1e-9


def sizes(bboxes_xyxy: Array) -> Array:
    """Return the roots of the areas of the (N, 4) boxes: (N,) pixels, at least 1."""
    width, height = bboxes_xyxy[:, 2] - bboxes_xyxy[:, 0], bboxes_xyxy[:, 3] - bboxes_xyxy[:, 1]
    return np.asarray(np.sqrt(np.maximum(width, 1.0) * np.maximum(height, 1.0)))


def centers(bboxes_xyxy: Array) -> Array:
    """Return the (N, 2) centers of the (N, 4) boxes."""
    return (bboxes_xyxy[:, :2] + bboxes_xyxy[:, 2:]) / 2


def overlaps(a_xyxy: Array, b_xyxy: Array) -> Array:
    """Return the (A, B) IoU of two lists of boxes."""
    low = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    high = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=2)
    areas_a, areas_b = (np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1) for boxes in (a_xyxy, b_xyxy))
    return np.asarray(common / np.maximum(areas_a[:, None] + areas_b[None] - common, _EPSILON))


def oks(a: Array, b: Array, weights_a: Array, weights_b: Array, tolerances: Array) -> Array:
    """Return the (A, B) object keypoint similarity of two lists of poses.

    Args:
        a: (A, K, 2) keypoints.
        b: (B, K, 2) keypoints.
        weights_a: (A, K) weights of the keypoints, 0 to 1.
        weights_b: (B, K), likewise. A pair of keypoints counts with the smaller weight.
        tolerances: (A, K) pixels; COCO's are twice the sigma times the root of the area.

    Source: COCO, cocoeval.computeOks, with weights in place of visibility flags.
    """
    square = ((a[:, None] - b[None]) ** 2).sum(axis=3)
    weights = np.minimum(weights_a[:, None], weights_b[None])
    likeness = np.exp(-square / (2 * np.maximum(tolerances[:, None], _EPSILON) ** 2))
    return np.asarray((likeness * weights).sum(axis=2) / np.maximum(weights.sum(axis=2), _EPSILON))


def assign(similarity: Array, least: float) -> tuple[Rows, Rows]:
    """Return the rows and columns of the one-to-one assignment with the largest sum.

    Args:
        similarity: (A, B); pairs below `least` are never assigned.
        least: smallest similarity of a pair.

    Raises:
        ModuleNotFoundError: scipy is not installed (extra `track`).
    """
    possible = similarity >= least
    rows, columns = linear_sum_assignment()(np.where(possible, similarity, 0.0), maximize=True)
    kept = possible[rows, columns]
    return rows[kept], columns[kept]
