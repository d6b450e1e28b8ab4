"""Encoding of images for a request: files and encoded bytes are sent unchanged, pixels as lossless BMP or as JPEG."""

import os
import struct
import sys
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from cigpose_client._extras import has_opencv, opencv
from cigpose_client._protocol import MAX_PICTURE_BYTES


class SupportsArray(Protocol):
    """An object that numpy reads as an array."""

    def __array__(self) -> Any:
        """Return the array."""


class PilImage(Protocol):
    """The part of `PIL.Image.Image` that is used here; Pillow itself is not a dependency."""

    @property
    def mode(self) -> str:
        """Name of the pixel format."""

    def getexif(self) -> Any:
        """Return the EXIF tags."""


Image: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | npt.NDArray[np.uint8] | SupportsArray | PilImage
)
"""A path, an encoded picture (JPEG, PNG, WebP, BMP), (H, W, 3) uint8 BGR pixels, or a PIL image."""

ArrayFormat: TypeAlias = Literal["auto", "bmp", "jpeg"]

_JPEG_QUALITY = 95
_BMP_HEADER = 14 + 40


def encoded(image: Image, array_format: ArrayFormat = "auto") -> bytes:
    """Return the encoded picture that a request carries.

    Args:
        image: a path, encoded bytes, (H, W, 3) uint8 BGR pixels (numpy, or any object with `__array__`), or a PIL
            image, which is turned upright by its EXIF orientation.
        array_format: encoding of pixels: `bmp` is lossless and needs no encoder, `jpeg` (quality 95) is smaller, `auto`
            is `bmp` up to the server's limit and `jpeg` above it.

    Raises:
        ModuleNotFoundError: `array_format` is `jpeg`, and OpenCV is not installed.
        OSError: the file cannot be read.
        TypeError: `image` has another type, or the pixels are not uint8.
        ValueError: the pixels are not (H, W, 3), are empty, or exceed the server's limit as BMP.
    """
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, (str, os.PathLike)):
        with open(image, "rb") as file:
            return file.read()
    image_bgr = _pixels(image)
    _check_pixels(image_bgr)
    size = _BMP_HEADER + image_bgr.shape[0] * _stride(image_bgr)
    if array_format == "jpeg" or (array_format == "auto" and size > MAX_PICTURE_BYTES and has_opencv()):
        return _jpeg(image_bgr)
    if size > MAX_PICTURE_BYTES:
        raise ValueError(
            f"pixels of shape {image_bgr.shape} are {size} bytes as BMP, over the server's limit of "
            f"{MAX_PICTURE_BYTES}; send them with array_format='jpeg', which needs OpenCV: "
            "pip install 'cigpose-client[draw]'"
        )
    return _bmp(image_bgr)


def checked_format(array_format: ArrayFormat) -> ArrayFormat:
    """Return `array_format`.

    Raises:
        ValueError: the format is unknown.
    """
    if array_format not in get_args(ArrayFormat):
        raise ValueError(f"array_format {array_format!r} is unknown; known: {', '.join(get_args(ArrayFormat))}")
    return array_format


def _pixels(image: Any) -> npt.NDArray[np.uint8]:
    pil = sys.modules.get("PIL.Image")  # imported already, if the image is one of Pillow's
    if pil is not None and isinstance(image, pil.Image):
        return _upright_bgr(image)
    if hasattr(image, "__array__"):
        return np.asarray(image)
    raise TypeError(
        f"an image is a path, encoded bytes, uint8 pixels (numpy or __array__) or a PIL image, "
        f"not {type(image).__name__}"
    )


def _upright_bgr(image: Any) -> npt.NDArray[np.uint8]:
    """Return (H, W, 3) uint8, as the server decodes the image's file: upright, with transparency on white.

    Raises:
        TypeError: the values of the image's mode have no fixed range.
    """
    from PIL import Image, ImageOps

    if image.mode in ("I", "F"):
        raise TypeError(f"a PIL image of mode {image.mode!r} has no fixed range; scale it and convert it to 'RGB'")
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):  # convert() would clip at 255
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    if upright.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in upright.info:
        colour = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour)
    return np.asarray(upright.convert("RGB"))[..., ::-1]


def _check_pixels(image_bgr: npt.NDArray[np.uint8]) -> None:
    if image_bgr.dtype != np.uint8:
        raise TypeError(f"pixels must be uint8, not {image_bgr.dtype}")
    if image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or not image_bgr.size:
        remedy = "; make grey pixels BGR with np.dstack([image] * 3)" if image_bgr.ndim == 2 else ""
        raise ValueError(f"pixels must have the shape (H, W, 3) with H and W at least 1, not {image_bgr.shape}{remedy}")


def _stride(image_bgr: npt.NDArray[np.uint8]) -> int:
    """Return the bytes of one row of a BMP."""
    return (image_bgr.shape[1] * 3 + 3) // 4 * 4


def _bmp(image_bgr: npt.NDArray[np.uint8]) -> bytes:
    """Return (H, W, 3) uint8 BGR pixels as an uncompressed 24-bit BMP: rows bottom up, each padded to four bytes.

    Source: the BITMAPFILEHEADER and BITMAPINFOHEADER structures of the Windows GDI documentation.
    """
    height, width = image_bgr.shape[:2]
    stride, offset = _stride(image_bgr), _BMP_HEADER
    size = height * stride
    file_header = struct.pack("<2sIHHI", b"BM", offset + size, 0, 0, offset)
    info_header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, size, 0, 0, 0, 0)
    data = np.zeros(offset + size, np.uint8)  # one array, to copy a large frame as few times as possible
    data[:offset] = np.frombuffer(file_header + info_header, np.uint8)
    data[offset:].reshape(height, stride)[:, : width * 3] = image_bgr[::-1].reshape(height, width * 3)
    return data.tobytes()


def _jpeg(image_bgr: npt.NDArray[np.uint8]) -> bytes:
    cv2 = opencv("sending arrays as JPEG")
    done, data = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise ValueError(f"pixels of shape {image_bgr.shape} cannot be written as JPEG")
    return bytes(data)
