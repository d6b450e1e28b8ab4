"""Object keypoint similarity, and the removal of people found twice by it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cigpose_client._poses import FloatArray, Poses

_THRESHOLD = 0.9
_PADDING = 1.25
_ASPECT = 0.75  # width to height of the crops of every published network


def keypoint_similarities(
    keypoints: npt.ArrayLike, others: npt.ArrayLike, areas: npt.ArrayLike, sigmas: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Return the (..., K) similarity of each pair of keypoints, 0 to 1; a person's similarity is the mean over K.

    Args:
        keypoints: (..., K, 2) pixels.
        others: (..., K, 2) pixels.
        areas: (...) square pixels that a person covers.
        sigmas: (K,) COCO's tolerance of each keypoint.

    Source: COCO, `COCOeval.computeOks`; MMPose, evaluation/functional/nms.py, oks_iou.
    """
    squared = ((np.asarray(keypoints, np.float64) - np.asarray(others, np.float64)) ** 2).sum(axis=-1)
    variances = (2 * np.asarray(sigmas)) ** 2
    return np.asarray(np.exp(-squared / variances / (np.asarray(areas) + np.spacing(1))[..., None] / 2))


def without_duplicates(poses: Poses) -> Poses:
    """Return the people of one picture, best instance score first, without those that resemble a better one.

    People of a bottom-up network are returned as they are: it has compared their poses by its own rule.

    Source: MMPose, CocoMetric with nms_mode oks_nms and nms_thr 0.9; the size of a person is the area of its crop.

    Raises:
        ValueError: the keypoint set is unknown.
    """
    if poses.bottom_up:
        return poses
    if poses.keypoint_set is None:
        raise ValueError(f"no keypoint set with {poses.keypoints.shape[1]} points is known")
    areas = _crop_areas(poses.bboxes)
    points, scale = poses.keypoints, (areas[:, None] + areas) / 2  # of a pair: the mean of its areas
    similar = keypoint_similarities(points[:, None], points, scale, poses.keypoint_set.sigmas).mean(axis=-1)
    kept: list[int] = []
    for person in np.argsort(-poses.instance_scores, kind="stable"):
        if not (similar[person, kept] > _THRESHOLD).any():
            kept.append(int(person))
    return poses.take(kept)


def _crop_areas(bbox_xyxy: FloatArray) -> npt.NDArray[np.float64]:
    """Return the (N,) areas of the boxes, padded and brought to the crop's aspect."""
    width, height = ((bbox_xyxy[:, 2:] - bbox_xyxy[:, :2]) * _PADDING).astype(np.float64).T
    return np.asarray(np.maximum(width, height * _ASPECT) * np.maximum(height, width / _ASPECT))
