"""Letterboxing as YOLOX does it: scaled to fit, top-left aligned, the rest grey."""

import cv2
import numpy as np
from numpy.typing import NDArray

_GREY = 114


def letterbox_ratio(picture_size: tuple[int, int], size: tuple[int, int]) -> float:
    """Return letterbox pixels per picture pixel; both sizes are (w, h)."""
    return min(size[0] / picture_size[0], size[1] / picture_size[1])


def letterbox(image_bgr: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale a picture into a grey canvas, keeping its aspect.

    Args:
        image_bgr: (H, W, 3) uint8.
        size: (w, h) of the detector's input.

    Returns:
        (h, w, 3) uint8, BGR.

    Source: Megvii YOLOX, preproc (bilinear, sizes truncated, grey 114, no centring).
    """
    height, width = image_bgr.shape[:2]
    ratio = letterbox_ratio((width, height), size)
    scaled_size = (max(int(width * ratio), 1), max(int(height * ratio), 1))
    canvas = np.full((size[1], size[0], 3), _GREY, np.uint8)
    cv2.resize(image_bgr, scaled_size, dst=canvas[: scaled_size[1], : scaled_size[0]], interpolation=cv2.INTER_LINEAR)
    return canvas
