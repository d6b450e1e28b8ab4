import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest

from ensemble.picture_header import read_header
from ensemble.steps.decode_image import PictureLimits, _on_white, decode_picture
from tests.pictures import encode, noise_picture

LIMITS = PictureLimits(max_bytes=100_000, max_pixels=20_000)
KINDS = {".jpg": "JPEG", ".png": "PNG", ".webp": "WebP", ".bmp": "BMP"}


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_lossless_pictures_come_back_as_they_were(suffix):
    image_bgr = noise_picture(50, 40)
    np.testing.assert_array_equal(decode_picture(encode(image_bgr, suffix), LIMITS), image_bgr)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_jpeg_upright(orientation):
    stored = noise_picture(48, 32)
    jpeg = encode(stored, ".jpg")
    plain = decode_picture(jpeg, LIMITS)
    turned = {  # EXIF 2.32, tag 0x0112: which corner row 0 and column 0 of the stored picture show
        1: plain,
        2: plain[:, ::-1],
        3: plain[::-1, ::-1],
        4: plain[::-1],
        5: plain.transpose(1, 0, 2),
        6: plain.transpose(1, 0, 2)[:, ::-1],
        7: plain[::-1, ::-1].transpose(1, 0, 2),
        8: plain.transpose(1, 0, 2)[::-1],
    }
    upright = decode_picture(jpeg[:2] + exif_segment(orientation) + jpeg[2:], LIMITS)
    np.testing.assert_array_equal(upright, turned[orientation])


def exif_segment(orientation):
    tiff = b"MM\0*" + struct.pack(">IHHHIHH", 8, 1, 0x0112, 3, 1, orientation, 0) + bytes(4)
    body = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def test_a_bomb_is_refused_by_its_header():
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    with pytest.raises(ValueError, match="60000 x 60000 pixels are over the limit of 20000"):
        decode_picture(b"\x89PNG\r\n\x1a\n" + chunk, LIMITS)


def test_a_size_behind_what_decoders_skip_is_no_disguise():
    """libjpeg takes FF 00 for two bytes of garbage; a reader that skips a segment there finds a size of its own."""
    jpeg, small_frame = encode(noise_picture(50, 40), ".jpg"), b"\xff\xc0\0\x11\x08\0\1\0\1\3" + bytes(9)
    disguised = jpeg[:2] + b"\xff\0" + struct.pack(">H", len(jpeg)) + jpeg[2:] + small_frame
    header = read_header(disguised)
    assert (header.width, header.height) == (50, 40)
    assert decode_picture(disguised, LIMITS).shape == (40, 50, 3)


def test_a_side_that_opencv_does_not_read_is_refused():
    with pytest.raises(ValueError, match="this BMP is damaged or truncated and cannot be decoded"):
        decode_picture(cv2.imencode(".bmp", np.zeros((1, 2**20 + 1, 3), np.uint8))[1].tobytes(), PictureLimits())


def test_too_many_bytes_are_refused():
    with pytest.raises(ValueError, match="100001 bytes are over the limit of 100000"):
        decode_picture(bytes(100_001), LIMITS)


@pytest.mark.parametrize("encoded", [b"", b"hello", b"GIF89a" + bytes(20), b"<svg/>", bytes(12) + b"WEBP"])
def test_what_is_no_picture_is_refused(encoded):
    with pytest.raises(ValueError, match=r"^image: \d+ bytes that begin with .* are no JPEG, PNG, WebP or BMP$"):
        decode_picture(encoded, LIMITS)


@pytest.mark.parametrize(("suffix", "kind"), KINDS.items())
def test_a_picture_without_its_body_is_refused(suffix, kind):
    encoded = encode(noise_picture(50, 40), suffix)
    for length in (3, 13, 17, 23, 30):
        with pytest.raises(ValueError, match=rf"^image: .*({kind}|begin with)"):
            decode_picture(encoded[:length] if suffix != ".webp" else encoded[: max(length, 13)], LIMITS)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_transparent_picture_needs_little_additional_memory(dtype):
    bgra = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (3000, 1500, 4)).astype(dtype)
    tracemalloc.start()
    try:
        on_white = _on_white(bgra)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < on_white.nbytes + 60_000_000  # the floats of one strip
    full = np.iinfo(dtype).max
    exact = bgra[..., :3] * (255 / full) * (bgra[..., 3:] / full) + 255 * (1 - bgra[..., 3:] / full)
    assert np.abs(on_white - exact).max() < 0.501
