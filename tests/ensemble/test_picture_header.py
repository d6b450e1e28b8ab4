import struct

import cv2
import numpy as np
import pytest

from ensemble.picture_header import PictureHeader, read_header
from tests.pictures import encode, noise_picture

KINDS = {".jpg": "JPEG", ".png": "PNG", ".webp": "WebP", ".bmp": "BMP"}
FRAMES = sorted({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # ITU T.81, table B.1


def jpeg(*segments):
    return b"\xff\xd8" + b"".join(segments)


def segment(marker, body):
    return b"\xff" + bytes([marker]) + struct.pack(">H", 2 + len(body)) + body


def frame(width, height, marker=0xC0):
    return segment(marker, struct.pack(">BHHB", 8, height, width, 3) + bytes(9))


def png(width, height, colour_type=2, chunks=b"IDAT"):
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0) + chunks


def webp(chunk, body):
    return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBP" + chunk + struct.pack("<I", len(body)) + body


def extended(width, height, flags=0):
    return webp(b"VP8X", bytes([flags, 0, 0, 0]) + b"".join((n - 1).to_bytes(3, "little") for n in (width, height)))


def lossless(width, height, alpha=0):
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", width - 1 | height - 1 << 14 | alpha << 28))


def lossy(width, height, scaling=0):
    return webp(b"VP8 ", bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", width | scaling << 14, height | scaling << 14))


def bmp(size_and_sides):
    return b"BM" + bytes(12) + size_and_sides


def size(encoded):
    header = read_header(encoded)
    return header.width, header.height


@pytest.mark.parametrize(("suffix", "kind"), KINDS.items())
def test_header_states_kind_and_size(suffix, kind):
    assert read_header(encode(noise_picture(33, 21), suffix)) == PictureHeader(kind, 33, 21, transparent=False)


@pytest.mark.parametrize(("quality", "chunk"), [(80, b"VP8 "), (101, b"VP8L")])
def test_header_of_both_kinds_of_webp(quality, chunk):
    encoded = cv2.imencode(".webp", noise_picture(300, 21), [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
    assert encoded[12:16] == chunk
    assert size(encoded) == (300, 21)


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        (jpeg(frame(65_535, 40_000)), (65_535, 40_000)),
        (png(2**32 - 1, 2**31), (2**32 - 1, 2**31)),
        (extended(2**24, 2**24 - 257), (2**24, 2**24 - 257)),
        (lossless(16_384, 16_383, alpha=1), (16_384, 16_383)),
        (lossless(2, 16_384, alpha=15), (2, 16_384)),
        (lossy(16_383, 5, scaling=3), (16_383, 5)),
        (bmp(struct.pack("<Iii", 40, 2**31 - 1, 7)), (2**31 - 1, 7)),
        (bmp(struct.pack("<Iii", 40, 7, -5)), (7, 5)),  # rows that run downwards
        (bmp(struct.pack("<IHH", 12, 65_535, 40_000)), (65_535, 40_000)),  # the oldest header
    ],
    ids=["JPEG", "PNG", "VP8X", "VP8L", "VP8L with all flags", "VP8", "BMP", "BMP downwards", "old BMP"],
)
def test_sizes_up_to_the_largest(encoded, expected):
    assert size(encoded) == expected


@pytest.mark.parametrize("marker", FRAMES)
def test_every_kind_of_jpeg_frame_has_a_size(marker):
    assert size(jpeg(frame(7, 5, marker), frame(1, 1))) == (7, 5)


@pytest.mark.parametrize(
    "before",
    [
        b"\x20",
        b"\x20\x21\x22",
        b"\xff\xff",
        b"\xff\x00",
        b"\xff\x01",
        b"\xff\xd0\xff\xd7\xff\xd8",
        *(frame(1, 1, marker) for marker in (0xC4, 0xC8, 0xCC)),
        segment(0xE1, 2000 * frame(1, 1)),
        segment(0xFE, frame(1, 1)),
    ],
    ids=["garbage", "more garbage", "fill bytes", "zero", "TEM", "restarts", "DHT", "JPG", "DAC", "long", "comment"],
)
def test_what_stands_before_a_jpegs_frame_is_skipped(before):
    assert size(jpeg(segment(0xE0, b""), before, frame(7, 5))) == (7, 5)


@pytest.mark.parametrize("colour_type", [0, 2, 3, 4, 6])
def test_a_png_is_transparent_by_its_colour_type(colour_type):
    assert read_header(png(7, 5, colour_type)).transparent == (colour_type in (4, 6))


@pytest.mark.parametrize(
    ("chunks", "transparent"), [(b"tRNS IDAT IDAT", True), (b"IDAT tRNS", False), (b"IDAT tRNS IDAT", False)]
)
def test_a_png_is_transparent_by_a_chunk_before_its_pixels(chunks, transparent):
    assert read_header(png(7, 5, chunks=chunks)).transparent is transparent


@pytest.mark.parametrize(
    ("encoded", "transparent"),
    [
        (extended(7, 5, flags=0x10), True),
        (extended(7, 5, flags=0xEF), False),
        (extended(0x1011, 5), False),
        (lossless(7, 5, alpha=1), True),
        (lossless(7, 16_384, alpha=0b1110), False),
        (lossy(7, 5, scaling=3), False),
        (jpeg(segment(0xFE, b"JPEG, VP8X" + b"\x10" * 16), frame(7, 5)), False),
    ],
    ids=["VP8X", "VP8X with other flags", "wide VP8X", "VP8L", "VP8L with other flags", "VP8", "JPEG comment"],
)
def test_a_webp_is_transparent_by_its_flag(encoded, transparent):
    assert read_header(encoded).transparent is transparent


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_an_opencv_picture_with_alpha_is_transparent(suffix):
    bgra = np.random.default_rng(0).integers(0, 255, (21, 33, 4), np.uint8)
    assert read_header(encode(bgra, suffix)) == PictureHeader(KINDS[suffix], 33, 21, transparent=True)


@pytest.mark.parametrize(
    ("encoded", "kind"),
    [
        (jpeg(b"\xff\xd9", frame(7, 5)), "JPEG"),
        (jpeg(b"\xff\xda", frame(7, 5)), "JPEG"),
        (jpeg(frame(7, 5))[:-11], "JPEG"),
        (png(7, 5)[:20], "PNG"),
        (png(7, 5)[:25], "PNG"),
        (webp(b"\x30\x01\0\x9d", b"\x01\x2a" + bytes(24)), "WebP"),
        (lossless(7, 5)[:24], "WebP"),
        (bmp(struct.pack("<I", 40)), "BMP"),
    ],
    ids=[
        "after the end",
        "after the scan",
        "cut JPEG",
        "cut PNG",
        "PNG of no type",
        "bare bitstream",
        "cut WebP",
        "BMP",
    ],
)
def test_a_size_that_no_decoder_reads_is_none(encoded, kind):
    """Decoders take a WebP without a chunk for a bare bitstream, whose size stands elsewhere."""
    with pytest.raises(ValueError, match=f"^the {kind} is truncated: its {len(encoded)} bytes hold no size$"):
        read_header(encoded)


@pytest.mark.parametrize("sides", [(0, 5), (7, 0)])
def test_a_picture_without_pixels_is_refused(sides):
    with pytest.raises(ValueError, match=f"^the PNG says that it is {sides[0]} x {sides[1]} pixels large$"):
        read_header(png(*sides))


def test_one_pixel_is_a_picture():
    assert size(png(1, 1)) == (1, 1)


@pytest.mark.parametrize(
    ("encoded", "start"), [(b"", "nothing"), (b"GIF89a\1\2\3\4", "47 49 46 38 39 61 01 02"), (b" BM", "20 42 4d")]
)
def test_other_bytes_are_refused_by_their_start(encoded, start):
    with pytest.raises(
        ValueError, match=f"^{len(encoded)} bytes that begin with {start} are no JPEG, PNG, WebP or BMP$"
    ):
        read_header(encoded)
