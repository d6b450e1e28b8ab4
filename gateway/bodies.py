"""The picture and the boxes of a request: a raw body, a form (multipart), or JSON with base64."""

import base64
import binascii
import json
import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import anyio
import numpy as np
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from gateway.limits import Share
from gateway.problems import Problem
from gateway.settings import Settings

# curl --data-binary states the third one
_RAW = (
    "",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    *(f"image/{kind}" for kind in ("jpeg", "jpg", "png", "webp", "bmp", "x-ms-bmp")),
)
_ACCEPTED = "send image/jpeg, image/png, image/webp, image/bmp, multipart/form-data or application/json"
_MOST_BOXES = 256
_LARGEST = float(np.finfo(np.float32).max)
_BOXES_BYTES = 64 * _MOST_BOXES
_ENVELOPE = 4096  # bytes of a form's or JSON text's own, at most
_CURL = "curl sends it with -F image=@photo.jpg"
_BOXES = "boxes must be a list of [left, top, right, bottom] in pixels of the upright picture"

Boxes = list[list[float]]


@dataclass(frozen=True)
class Picture:
    """One encoded picture, and the boxes of its people if the caller knows them."""

    encoded: bytes
    boxes: Boxes | None = None


@dataclass(frozen=True)
class Body:
    """Reads the body of one request into its share of the budget."""

    settings: Settings
    share: Share

    async def picture(self, request: Request) -> Picture:
        """Read the request's picture.

        Raises:
            ClientDisconnect: the caller has hung up.
            Problem: the body is too large or too slow, has another type, or is malformed.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        limit = self.settings.max_bytes
        try:
            with anyio.fail_after(self.settings.upload_s):
                if kind in _RAW:
                    return Picture(await self._read(request, limit))
                if kind == "multipart/form-data":
                    return await self._form(request, limit)
                if kind == "application/json":
                    return _parsed(await self._read(request, limit * 4 // 3 + _ENVELOPE + _BOXES_BYTES), limit)
        except TimeoutError:
            wait_s = self.settings.upload_s
            raise Problem(408, f"the body did not arrive within {wait_s:g} s", {"Connection": "close"}) from None
        raise Problem(415, f"the content type {kind!r} is not accepted; {_ACCEPTED}")

    async def _read(self, request: Request, limit: int) -> bytes:
        return b"".join([chunk async for chunk in self._chunks(request, limit)])

    async def _chunks(self, request: Request, limit: int) -> AsyncGenerator[bytes, None]:
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise _too_large(int(announced), self.settings.max_bytes)
        async for chunk in request.stream():
            self.share.add(len(chunk))
            if self.share.size > limit:
                raise _too_large(self.share.size, self.settings.max_bytes)
            yield chunk

    async def _form(self, request: Request, limit: int) -> Picture:
        parser = _InMemory(
            request.headers,
            self._chunks(request, limit + _ENVELOPE + _BOXES_BYTES),
            max_part_size=_BOXES_BYTES,
        )
        try:
            form = await parser.parse()
            if not parser.is_whole:
                raise Problem(400, "the form is cut off: its last boundary is missing")
            return await _of_form(form, limit)
        except (MultiPartException, KeyError, ValueError) as error:
            reason = getattr(error, "message", "its parts cannot be read")
            raise Problem(400, f"the form is malformed: {reason}") from None
        finally:
            parser.close()


class _InMemory(MultiPartParser):
    """Keeps files in memory: their size is limited, and a container's file system is read-only."""

    spool_max_size = 0  # which `SpooledTemporaryFile` takes for no limit
    is_whole = False

    def on_headers_finished(self) -> None:
        """Check the head of a part before its content is read.

        Raises:
            Problem: the part is unknown, repeated, or a file instead of a text or the reverse.
        """
        super().on_headers_finished()
        name, is_file = self._current_part.field_name, self._current_part.file is not None
        if name not in ("image", "boxes"):
            raise Problem(400, f"unknown field {name[:50]!r} in the form; known: image, boxes")
        if name in dict(self.items):
            raise Problem(400, f"the form has more than one field {name}")
        if name == "image" and not is_file:
            raise Problem(400, f"image must be a file, with a filename; {_CURL}")
        if name == "boxes" and is_file:
            raise Problem(400, "boxes must be a text field of the form, and JSON")

    def on_end(self) -> None:
        """Note that the last boundary was found."""
        self.is_whole = True

    def close(self) -> None:
        """Close all files. Starlette forgets those of parts that have no end."""
        for file in self._files_to_close_on_error:
            file.close()


async def _of_form(form: FormData, limit: int) -> Picture:
    file, boxes = form.get("image"), form.get("boxes")
    if not isinstance(file, UploadFile):
        raise Problem(400, f"the form has no file called image; {_CURL}")
    encoded = _sized(await file.read(), limit)
    return Picture(encoded, _boxes(_json(boxes, "boxes")) if isinstance(boxes, str) else None)


def _parsed(content: bytes, limit: int) -> Picture:
    fields = _json(content, "the body")
    if not isinstance(fields, dict) or not isinstance(fields.get("image"), str):
        raise Problem(400, 'the body must be a JSON object such as {"image": "<base64>", "boxes": [[0, 0, 64, 64]]}')
    unknown = set(fields) - {"image", "boxes"}
    if unknown:
        raise Problem(400, f"unknown field {min(unknown)[:50]!r}; known: image, boxes")
    text = fields["image"]
    if text.startswith("data:"):  # as `canvas.toDataURL` of a browser returns it
        text = text.partition(",")[2]
    try:
        encoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Problem(400, "image is not valid base64") from None
    return Picture(_sized(encoded, limit), None if fields.get("boxes") is None else _boxes(fields["boxes"]))


def _json(text: str | bytes, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Problem(400, f"{name} must be valid JSON") from None


def _boxes(value: Any) -> Boxes:
    if not isinstance(value, list):
        raise Problem(400, _BOXES)
    if len(value) > _MOST_BOXES:
        raise Problem(
            422, f"boxes: {len(value)} are more than the limit of {_MOST_BOXES} a request; send fewer at once"
        )
    for index, row in enumerate(value):
        if not isinstance(row, list) or len(row) != 4 or any(type(side) not in (int, float) for side in row):
            raise Problem(400, f"{_BOXES}; boxes[{index}] is not")
        if any(_LARGEST < abs(side) < math.inf for side in row):  # what is not finite is for the server to refuse
            raise Problem(422, f"boxes[{index}] has a number beyond float32")
    return value


def _sized(encoded: bytes, limit: int) -> bytes:
    if len(encoded) > limit:
        raise _too_large(len(encoded), limit)
    return encoded


def _too_large(size: int, limit: int) -> Problem:
    # the connection cannot be used again: the rest of the body is not read
    text = f"image: {size} bytes are over the limit of {limit}; compress it more"
    return Problem(413, text, {"Connection": "close"})
