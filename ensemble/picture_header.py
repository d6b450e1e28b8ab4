"""Read a picture's kind and size from its first bytes, so that limits can be checked before anything is decoded."""

import struct
from dataclasses import dataclass

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start-of-frame markers (ITU T.81, table B.1)
_JPEG_BARE = frozenset([0x00, 0x01, *range(0xD0, 0xD9)])  # without a length; 0x00 is no marker, decoders skip it
_JPEG_ENDS = frozenset([0xD9, 0xDA])  # end of image, start of scan: no decoder looks for a frame after them


@dataclass(frozen=True)
class PictureHeader:
    """The facts in the first bytes.

    Attributes:
        kind: `JPEG`, `PNG`, `WebP` or `BMP`.
        width: in pixels as stored, before any EXIF rotation.
        height: likewise.
        transparent: pixels may be (partly) transparent.
    """

    kind: str
    width: int
    height: int
    transparent: bool = False


def read_header(encoded: bytes) -> PictureHeader:
    """Return kind and size of an encoded picture without decoding it.

    Args:
        encoded: a whole JPEG, PNG, WebP or BMP file.

    Raises:
        ValueError: the bytes are none of these, or end before the size.
    """
    for magic, offset, kind, read_size in _KINDS:
        if encoded[offset : offset + len(magic)] == magic:
            try:
                width, height = read_size(encoded)
                transparent = _is_transparent(kind, encoded)
            except (struct.error, IndexError):
                raise ValueError(f"the {kind} is truncated: its {len(encoded)} bytes hold no size") from None
            if width < 1 or height < 1:
                raise ValueError(f"the {kind} says that it is {width} x {height} pixels large")
            return PictureHeader(kind, width, height, transparent)
    start = encoded[:8].hex(" ") or "nothing"
    raise ValueError(f"{len(encoded)} bytes that begin with {start} are no JPEG, PNG, WebP or BMP")


def _is_transparent(kind: str, encoded: bytes) -> bool:
    if kind == "PNG":  # colour types with alpha, or a tRNS chunk before the pixels
        return encoded[25] in (4, 6) or b"tRNS" in encoded[: encoded.find(b"IDAT")]
    if kind == "WebP" and encoded[12:16] in (b"VP8X", b"VP8L"):
        return bool(encoded[20] & 0x10 if encoded[12:16] == b"VP8X" else encoded[24] & 0x10)
    return False


def _jpeg_size(encoded: bytes) -> tuple[int, int]:
    position = 2
    while True:
        while encoded[position] != 0xFF:  # decoders skip garbage between segments
            position += 1
        while encoded[position] == 0xFF:  # fill bytes
            position += 1
        marker = encoded[position]
        position += 1
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", encoded, position + 3)
            return width, height
        if marker in _JPEG_ENDS:
            raise IndexError("no frame")
        if marker not in _JPEG_BARE:
            position += struct.unpack_from(">H", encoded, position)[0]


def _png_size(encoded: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", encoded, 16)
    return width, height


def _webp_size(encoded: bytes) -> tuple[int, int]:
    chunk = encoded[12:16]
    if chunk == b"VP8X":
        low = struct.unpack_from("<HBHB", encoded, 24)
        return 1 + low[0] + (low[1] << 16), 1 + low[2] + (low[3] << 16)
    if chunk == b"VP8L":
        bits = struct.unpack_from("<I", encoded, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk != b"VP8 ":  # decoders take such a file for a bare bitstream, whose size stands elsewhere
        raise IndexError("no picture chunk")
    width, height = struct.unpack_from("<HH", encoded, 26)
    return width & 0x3FFF, height & 0x3FFF


def _bmp_size(encoded: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", encoded, 14)[0] == 12:  # the oldest header has 16-bit sizes
        width, height = struct.unpack_from("<HH", encoded, 18)
    else:
        width, height = struct.unpack_from("<ii", encoded, 18)
    return width, abs(height)  # a negative height only says that rows run downwards


_KINDS = (  # magic bytes, where they stand, name, reader of the size
    (b"\xff\xd8\xff", 0, "JPEG", _jpeg_size),
    (b"\x89PNG\r\n\x1a\n", 0, "PNG", _png_size),
    (b"WEBP", 8, "WebP", _webp_size),
    (b"BM", 0, "BMP", _bmp_size),
)
