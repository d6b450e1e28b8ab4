"""Pictures on their way to the server: files and encoded bytes as they are, arrays as lossless BMP or as JPEG."""

import os
import struct
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cigpose_client._extras import opencv

Image: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | npt.NDArray[np.uint8]
"""A path, an encoded picture (JPEG, PNG, WebP, BMP), or (H, W, 3) uint8 BGR pixels."""

ArrayFormat: TypeAlias = Literal["bmp", "jpeg"]

_JPEG_QUALITY = 95


def encoded(image: Image, array_format: ArrayFormat = "bmp") -> bytes:
    """Return the bytes that carry `image` to the server.

    Args:
        image: a path, encoded bytes, or (H, W, 3) uint8 BGR pixels.
        array_format: how pixels travel: `bmp` loses nothing and needs no encoder, `jpeg` (quality 95) is smaller.

    Raises:
        OSError: the file cannot be read.
        TypeError: `image` is none of the three kinds, or pixels are not uint8.
        ValueError: pixels are not (H, W, 3), or there are none.
    """
    if isinstance(image, np.ndarray):
        _check_pixels(image)
        return _jpeg(image) if array_format == "jpeg" else _bmp(image)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, (str, os.PathLike)):
        with open(image, "rb") as file:
            return file.read()
    raise TypeError(f"an image is a path, encoded bytes or a uint8 array, not {type(image).__name__}")


def _check_pixels(image_bgr: npt.NDArray[np.uint8]) -> None:
    if image_bgr.dtype != np.uint8:
        raise TypeError(f"pixels must be uint8, not {image_bgr.dtype}")
    if image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or not image_bgr.size:
        raise ValueError(f"pixels must have the shape (H, W, 3) with H and W at least 1, not {image_bgr.shape}")


def _bmp(image_bgr: npt.NDArray[np.uint8]) -> bytes:
    """Return (H, W, 3) uint8 BGR pixels as an uncompressed 24-bit BMP: rows bottom up, each padded to four bytes.

    Source: the BITMAPFILEHEADER and BITMAPINFOHEADER structures of the Windows GDI documentation.
    """
    height, width = image_bgr.shape[:2]
    stride, offset = (width * 3 + 3) // 4 * 4, 14 + 40
    size = height * stride
    file_header = struct.pack("<2sIHHI", b"BM", offset + size, 0, 0, offset)
    info_header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, size, 0, 0, 0, 0)
    data = np.zeros(offset + size, np.uint8)  # one array, so that a large frame is copied as seldom as possible
    data[:offset] = np.frombuffer(file_header + info_header, np.uint8)
    data[offset:].reshape(height, stride)[:, : width * 3] = image_bgr[::-1].reshape(height, width * 3)
    return data.tobytes()


def _jpeg(image_bgr: npt.NDArray[np.uint8]) -> bytes:
    cv2 = opencv("sending arrays as JPEG")
    done, data = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise ValueError(f"pixels of shape {image_bgr.shape} cannot be written as JPEG")
    return bytes(data)
