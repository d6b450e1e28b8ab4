"""COCO's conventions for results: the instance score and the JSON entry of one person."""

from typing import Any

import numpy as np
import numpy.typing as npt

from cigpose_client._keypoints import KeypointSet

PERSON = 1
"""COCO's category id of people."""

FIELDS = {
    "body": "keypoints",
    "foot": "foot_kpts",
    "face": "face_kpts",
    "left_hand": "lefthand_kpts",
    "right_hand": "righthand_kpts",
}
"""Part of the body -> its field in annotations and results of COCO-WholeBody's format."""

_CLEAR = 0.2  # score above which a keypoint counts


def instance_scores(
    bbox_scores: npt.NDArray[np.float32], keypoint_scores: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return the (N,) score by which evaluation ranks people.

    Args:
        bbox_scores: (N,) detector scores.
        keypoint_scores: (N, K) keypoint scores.

    Returns:
        (N,) float32: box score times the mean of the keypoint scores above 0.2; 0 where no score is above it.

    Source: MMPose, CocoMetric with score_mode bbox_keypoint and keypoint_score_thr 0.2.
    """
    clear = keypoint_scores > _CLEAR
    total = np.where(clear, keypoint_scores, 0).sum(axis=1)
    mean = total / np.maximum(clear.sum(axis=1), 1)
    return np.asarray(bbox_scores * mean, np.float32)


def result(
    image_id: int | str,
    known: KeypointSet | None,
    keypoints: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    instance_score: np.float32,
    bbox_xyxy: npt.NDArray[np.float32] | None,
) -> dict[str, Any]:
    """Return one person as an entry of a COCO results file; the third number of each keypoint is its score."""
    rows = np.column_stack([keypoints, scores]).astype(np.float64)
    box = {} if bbox_xyxy is None else {"bbox": _xywh(bbox_xyxy.astype(np.float64))}
    return {
        "image_id": image_id,
        "category_id": PERSON,
        **box,
        "score": float(instance_score),
        **{key: rows[first:end].ravel().tolist() for key, (first, end) in _fields(known, len(rows)).items()},
    }


def count_keypoints(entry: dict[str, Any]) -> int:
    """Return K of an entry of a COCO results file."""
    return sum(len(entry[field]) for field in FIELDS.values() if field in entry) // 3


def _xywh(bbox_xyxy: npt.NDArray[np.float64]) -> list[float]:
    left, top, right, bottom = bbox_xyxy.tolist()
    return [left, top, right - left, bottom - top]


def _fields(known: KeypointSet | None, count: int) -> dict[str, tuple[int, int]]:
    """Return field -> (first row, end row) of `count` keypoints; COCO-WholeBody spreads its 133 over five fields."""
    if known is None or known.name != "coco_wholebody":
        return {"keypoints": (0, count)}
    return {FIELDS[part]: rows for part, rows in known.parts.items()}
