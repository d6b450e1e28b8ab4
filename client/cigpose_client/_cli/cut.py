"""Detection of video files that are shorter than their container states: MP4, MOV, AVI, Matroska and WebM."""

import os
from collections.abc import Callable
from typing import TypeAlias

_HEAD = 16  # bytes that hold the length of an element
_Length: TypeAlias = Callable[[bytes], int | None]


def is_cut(path: str) -> bool:
    """Return whether the file ends within one of its outermost elements; False for unknown containers.

    Sources: ISO/IEC 14496-12 (boxes), Microsoft's description of RIFF, RFC 8794 (EBML).
    """
    size = os.path.getsize(path)
    end = 0
    with open(path, "rb") as file:
        length_of = _container(file.read(_HEAD))
        while length_of and end < size:
            file.seek(end)
            length = length_of(file.read(_HEAD).ljust(_HEAD, b"\0"))
            if length is None:
                return False
            end += length
    return end > size


def _container(head: bytes) -> _Length | None:
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"):
        return _box
    if head[:4] == b"RIFF":
        return _chunk
    return _element if head[:4] == b"\x1a\x45\xdf\xa3" else None


def _box(head: bytes) -> int | None:
    """Return the length of an MP4 box in bytes; None if it extends to the end of the file."""
    length = int.from_bytes(head[:4], "big")
    return int.from_bytes(head[8:16], "big") or None if length == 1 else length or None


def _chunk(head: bytes) -> int | None:
    """Return the length of a RIFF chunk in bytes; None if its writer ended before stating it."""
    length = int.from_bytes(head[4:8], "little")
    return 8 + length if length else None


def _element(head: bytes) -> int | None:
    """Return the length of an EBML element in bytes; None if it is unknown, as in live streams."""
    id_bytes = 9 - head[0].bit_length()
    size_bytes = 9 - head[min(id_bytes, 8)].bit_length()
    if id_bytes > 8 or size_bytes > 8:
        return None
    unknown = (1 << 7 * size_bytes) - 1
    size = int.from_bytes(head[id_bytes : id_bytes + size_bytes], "big") & unknown
    return None if size == unknown else id_bytes + size_bytes + size
