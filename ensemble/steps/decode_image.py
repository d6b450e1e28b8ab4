"""Encoded picture -> upright pixels. Limits are checked before anything is decoded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from ensemble.geometry import Letterbox
from ensemble.picture_header import read_header
from ensemble.steps import Arrays, Request, Step, Weight
from ensemble.tensors import IMAGE, IMAGE_BGR, IMAGE_SIZE, LETTERBOXED, Tensor


@dataclass(frozen=True)
class PictureLimits:
    """Limits of one request: encoded bytes and decoded pixels."""

    max_bytes: int = 32_000_000
    max_pixels: int = 50_000_000


@dataclass(frozen=True)
class DecodeImage(Step):
    """Encoded picture -> its pixels, its size and, when wanted, the detector's letterboxed input.

    Attributes:
        input_width: width of the detector's input; 0 in a repository without a detector.
        input_height: height of the detector's input, likewise.
        max_bytes: see `PictureLimits`.
        max_pixels: see `PictureLimits`.
    """

    input_width: int = 0
    input_height: int = 0
    max_bytes: int = PictureLimits.max_bytes
    max_pixels: int = PictureLimits.max_pixels

    weight: ClassVar[Weight] = "pixels"
    counters: ClassVar[Mapping[str, str]] = {"cigpose_pictures_total": "Pictures decoded."}
    refusals: ClassVar[tuple[str, ...]] = ("bytes", "format", "pixels", "damaged")
    inputs = (IMAGE,)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The picture, its size and, in a repository with a detector, the letterboxed picture."""
        pixels = (IMAGE_BGR, IMAGE_SIZE)
        if not self.input_width:
            return pixels
        return (*pixels, LETTERBOXED.sized(self.input_height, self.input_width, 3).many(1))

    def run(self, request: Request) -> Arrays:
        """Decode the picture, and letterbox it when `letterboxed` is wanted."""
        limits = PictureLimits(self.max_bytes, self.max_pixels)
        image_bgr = decode_picture(request.tensors["image"][0], limits)
        height, width = image_bgr.shape[:2]
        outputs: dict[str, NDArray[Any]] = {"image_bgr": image_bgr, "image_size": np.array([width, height], np.int32)}
        if "letterboxed" in request.wanted:
            outputs["letterboxed"] = Letterbox((self.input_width, self.input_height)).apply(image_bgr)[None]
        return outputs

    def counts(self, inputs: Arrays, outputs: Arrays) -> Mapping[str, int]:
        """Count the picture."""
        return {"cigpose_pictures_total": 1}


_STRIP_PIXELS = 1 << 20


class PictureRefused(ValueError):
    """A picture is rejected. `reason` is one of the step's `refusals`; the text is shown to the caller."""

    def __init__(self, reason: str, message: str):
        super().__init__(f"image: {message}")
        self.reason = reason


def decode_picture(encoded: bytes, limits: PictureLimits) -> NDArray[np.uint8]:
    """Decode one JPEG, PNG, WebP or BMP as a viewer shows it: upright by its EXIF orientation, on white.

    Args:
        encoded: the file's bytes.
        limits: limits above which a picture is rejected without being decoded.

    Returns:
        image_bgr (H, W, 3) uint8. Transparent pictures keep the orientation in which they are stored.

    Raises:
        PictureRefused: the bytes are no picture, or the picture is damaged or over a limit.
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
        pixels = None  # over one of OpenCV's own limits, such as 2^20 pixels a side
    if pixels is None:
        raise PictureRefused("damaged", f"this {header.kind} is damaged or truncated and cannot be decoded")
    return _on_white(pixels) if pixels.ndim == 3 and pixels.shape[2] == 4 else np.asarray(pixels, np.uint8)


def _on_white(bgra: NDArray[Any]) -> NDArray[np.uint8]:
    """Lay (H, W, 4) uint8 or uint16 pixels on white; return (H, W, 3) uint8.

    Works in strips: the floats of a whole picture of the largest size would take gigabytes.
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
