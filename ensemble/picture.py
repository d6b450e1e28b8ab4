"""Encoded picture -> pixels, upright, within limits that are checked before anything is decoded."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ensemble.picture_header import read_header


@dataclass(frozen=True)
class PictureLimits:
    """What one request may cost: encoded bytes, decoded pixels."""

    max_bytes: int = 32_000_000
    max_pixels: int = 50_000_000


_STRIP_PIXELS = 1 << 20
REASONS = ("bytes", "format", "pixels", "damaged")


class PictureRefused(ValueError):
    """A picture that is not decoded; `reason` is one of `REASONS`, for a metric's label; the text is for the caller."""

    def __init__(self, reason: str, message: str):
        super().__init__(f"image: {message}")
        self.reason = reason


def decode_picture(encoded: bytes, limits: PictureLimits) -> NDArray[np.uint8]:
    """Decode one JPEG, PNG, WebP or BMP as a viewer shows it: upright by its EXIF orientation, on white.

    Args:
        encoded: the file's bytes.
        limits: refused above these, from the header alone.

    Returns:
        image_bgr (H, W, 3) uint8. Transparent pictures are shown on white as they are stored, without EXIF orientation.

    Raises:
        PictureRefused: no picture, damaged, or over a limit; the sentence is fit for a caller's eyes.
    """
    if len(encoded) > limits.max_bytes:
        raise PictureRefused(
            "bytes", f"{len(encoded)} bytes are over the limit of {limits.max_bytes}; compress it more"
        )
    try:
        header = read_header(encoded)
    except ValueError as error:
        raise PictureRefused("format", str(error)) from None
    if header.width * header.height > limits.max_pixels:
        size = f"{header.width} x {header.height} pixels"
        raise PictureRefused("pixels", f"{size} are over the limit of {limits.max_pixels}; scale it down")
    flags = cv2.IMREAD_UNCHANGED if header.transparent else cv2.IMREAD_COLOR
    try:
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise
        pixels = None  # OpenCV has limits of its own, as a side of 2^20 pixels
    if pixels is None:
        raise PictureRefused("damaged", f"this {header.kind} is damaged or truncated and cannot be decoded")
    return _on_white(pixels) if pixels.ndim == 3 and pixels.shape[2] == 4 else np.asarray(pixels, np.uint8)


def _on_white(bgra: NDArray[Any]) -> NDArray[np.uint8]:
    """Lay (H, W, 4) uint8 or uint16 pixels on white; returns (H, W, 3) uint8.

    By strips: the largest picture's floats would take gigabytes at once.
    """
    full = float(np.iinfo(bgra.dtype).max)
    on_white = np.empty((*bgra.shape[:2], 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // bgra.shape[1])
    for top in range(0, len(bgra), rows):
        strip = bgra[top : top + rows]
        alpha = strip[..., 3:].astype(np.float32) / np.float32(full)
        colour = strip[..., :3].astype(np.float32) * np.float32(255 / full)
        on_white[top : top + rows] = np.rint(colour * alpha + 255 * (1 - alpha))
    return on_white
