"""Encoded picture -> pixels, upright, within limits that are checked before anything is decoded."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ensemble.picture_header import read_header


@dataclass(frozen=True)
class PictureLimits:
    """What one request may cost: encoded bytes, decoded pixels."""

    max_bytes: int = 32_000_000
    max_pixels: int = 50_000_000


def decode_picture(encoded: bytes, limits: PictureLimits) -> NDArray[np.uint8]:
    """Decode one JPEG, PNG, WebP or BMP and turn it upright (EXIF orientation applied).

    Args:
        encoded: the file's bytes.
        limits: refused above these, from the header alone.

    Returns:
        image_bgr (H, W, 3) uint8.

    Raises:
        ValueError: no picture, damaged, or over a limit; the sentence is fit for a caller's eyes.
    """
    if len(encoded) > limits.max_bytes:
        raise ValueError(f"image: {len(encoded)} bytes are over the limit of {limits.max_bytes}; compress it more")
    header = read_header(encoded)
    if header.width * header.height > limits.max_pixels:
        raise ValueError(
            f"image: {header.width} x {header.height} pixels are over the limit of {limits.max_pixels}; scale it down"
        )
    image_bgr = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    if image_bgr is None:
        raise ValueError(f"image: this {header.kind} is damaged or truncated and cannot be decoded")
    return np.asarray(image_bgr, np.uint8)
