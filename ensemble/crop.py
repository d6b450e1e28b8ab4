"""Top-down crops as MMPose cuts them at test time: padded box, fixed aspect, one affine warp on black."""

import cv2
import numpy as np
from numpy.typing import NDArray

BBOX_PADDING = 1.25

Floats = NDArray[np.float32]


def check_boxes(bbox_xyxy: Floats) -> None:
    """Refuse boxes that no crop can be cut from.

    Args:
        bbox_xyxy: (N, 4) float32, left, top, right, bottom in image pixels.

    Raises:
        ValueError: a box is not finite, or is empty in both directions, or ends before it begins.
    """
    if bbox_xyxy.ndim != 2 or bbox_xyxy.shape[1] != 4:
        raise ValueError(f"bboxes must have shape [N,4], got {list(bbox_xyxy.shape)}")
    with np.errstate(over="ignore", invalid="ignore"):  # a difference that overflows is not finite, too
        widths, heights = (bbox_xyxy[:, 2:] - bbox_xyxy[:, :2]).T
    finite = np.isfinite(widths) & np.isfinite(heights)
    for index in np.flatnonzero(~finite):
        raise ValueError(f"bboxes[{index}] = {bbox_xyxy[index].tolist()} is not finite; send left, top, right, bottom")
    for index in np.flatnonzero((widths < 0) | (heights < 0) | ((widths == 0) & (heights == 0))):
        raise ValueError(
            f"bboxes[{index}] = {bbox_xyxy[index].tolist()} is empty; send left, top, right, bottom with right > left"
        )


def check_crop_count(count: int, max_persons: int, limit: int) -> None:
    """Refuse more crops than the network takes at once.

    Args:
        count: boxes at hand.
        max_persons: how many the caller is ready to get.
        limit: the network's `max_batch_size`.

    Raises:
        ValueError: the message says the limit and how to stay below it.
    """
    if max_persons > limit:
        raise ValueError(
            f"request parameter max_persons is {max_persons}; this network's keypoints are for 1 to {limit} persons "
            "a request (without keypoints in the requested outputs there is no such limit)"
        )
    if count > limit:
        raise ValueError(f"bboxes: {count} are more than this network's limit of {limit} a request; send fewer at once")


def centers_and_scales(bbox_xyxy: Floats, input_size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Turn boxes into the centre and extent of the region that becomes the crop.

    Args:
        bbox_xyxy: (N, 4) float32, image pixels.
        input_size: (w, h) of the network's input.

    Returns:
        centers (N, 2) and scales (N, 2), float32, image pixels; a scale is (w, h) after padding and aspect fix.

    Source: MMPose 1.3.2, GetBBoxCenterScale and TopdownAffine.
    """
    centers = (bbox_xyxy[:, 2:] + bbox_xyxy[:, :2]) * np.float32(0.5)
    padded = (bbox_xyxy[:, 2:] - bbox_xyxy[:, :2]) * np.float32(BBOX_PADDING)
    width, height = padded[:, :1], padded[:, 1:]
    aspect = np.float32(input_size[0] / input_size[1])
    wide = np.hstack([width, width / aspect])
    tall = np.hstack([height * aspect, height])
    return centers, np.where(width > height * aspect, wide, tall)


def warp_matrix(center: Floats, scale: Floats, input_size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the (2, 3) float64 matrix that maps image pixels to crop pixels.

    Args:
        center: (2,) float32, image pixels.
        scale: (2,) float32, image pixels; only the width enters.
        input_size: (w, h) of the crop.

    Source: MMPose 1.3.2, get_warp_matrix without rotation: three point pairs in float32, no half-pixel shift.
    """
    crop_center = np.array([input_size[0] * 0.5, input_size[1] * 0.5], np.float32)
    source = _corner_triple(center, np.float32(scale[0]) * np.float32(-0.5))
    target = _corner_triple(crop_center, np.float32(input_size[0] * -0.5))
    return np.asarray(cv2.getAffineTransform(source, target), np.float64)


def crop_persons(
    image_bgr: NDArray[np.uint8], centers: Floats, scales: Floats, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Cut one crop a person; pixels outside the picture are black.

    Args:
        image_bgr: (H, W, 3) uint8.
        centers: (N, 2) float32, image pixels.
        scales: (N, 2) float32, image pixels.
        size: (w, h) of the crops.

    Returns:
        (N, h, w, 3) uint8, BGR.
    """
    crops = np.empty((len(centers), size[1], size[0], 3), np.uint8)
    for crop, center, scale in zip(crops, centers, scales, strict=True):
        cv2.warpAffine(image_bgr, warp_matrix(center, scale, size), size, dst=crop, flags=cv2.INTER_LINEAR)
    return crops


def _corner_triple(center: Floats, half_width: np.float32) -> Floats:
    """Centre, middle of the left edge, and the point as far below that (as MMPose picks them)."""
    left = center + np.array([half_width, 0], np.float32)
    below = left + np.array([0, -half_width], np.float32)
    return np.stack([center, left, below])
