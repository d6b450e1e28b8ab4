"""Removal of people found twice, by the similarity of their keypoints."""

import numpy as np
import numpy.typing as npt

from cigpose_client._poses import FloatArray, Poses

_THRESHOLD = 0.9
_PADDING = 1.25
_ASPECT = 0.75  # width to height of the crops of every published network


def without_duplicates(poses: Poses) -> Poses:
    """Return the people of one picture, best instance score first, without those that resemble a better one.

    Source: MMPose, CocoMetric with nms_mode oks_nms and nms_thr 0.9; the size of a person is the area of its crop.

    Raises:
        ValueError: the keypoint set is unknown.
    """
    if poses.keypoint_set is None:
        raise ValueError(f"no keypoint set with {poses.keypoints.shape[1]} points is known")
    similar = _similarities(poses.keypoints, _crop_areas(poses.bboxes), np.asarray(poses.keypoint_set.sigmas))
    kept: list[int] = []
    for person in np.argsort(-poses.instance_scores, kind="stable"):
        if not (similar[person, kept] > _THRESHOLD).any():
            kept.append(int(person))
    return poses.take(kept)


def _crop_areas(bbox_xyxy: FloatArray) -> npt.NDArray[np.float64]:
    """Return the (N,) areas of the boxes, padded and brought to the crop's aspect."""
    width, height = ((bbox_xyxy[:, 2:] - bbox_xyxy[:, :2]) * _PADDING).astype(np.float64).T
    return np.asarray(np.maximum(width, height * _ASPECT) * np.maximum(height, width / _ASPECT))


def _similarities(
    keypoints: FloatArray, areas: npt.NDArray[np.float64], sigmas: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the (N, N) object keypoint similarities; the scale of a pair is the mean of its areas.

    Source: COCO keypoint evaluation; MMPose, evaluation/functional/nms.py, oks_iou.
    """
    points = keypoints.astype(np.float64)
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    scale = (areas[:, None] + areas[None]) / 2 + np.spacing(1)
    return np.asarray(np.exp(-squared / (2 * sigmas) ** 2 / scale[..., None] / 2).mean(axis=-1))
