"""`POST /v1/poses`: one picture in, the people in it out."""

import asyncio
import json
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from cigpose_client import Options, Poses
from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gateway.bodies import Body, Picture
from gateway.limits import Budget
from gateway.networks import Networks, skeletons
from gateway.problems import Problem
from gateway.settings import Settings

_Result = TypeVar("_Result")
_PICTURE = {"type": "string", "format": "binary"}
_FORM = {"type": "object", "required": ["image"], "properties": {"image": _PICTURE, "boxes": {"type": "string"}}}
_ROW = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
_JSON = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "image": {"type": "string", "description": "base64, or a data: URL"},
        "boxes": {"type": "array", "items": _ROW, "description": "left, top, right, bottom of each person"},
    },
}
BODY = {
    "required": True,
    "content": {
        **{f"image/{kind}": {"schema": _PICTURE} for kind in ("jpeg", "png", "webp", "bmp")},
        "multipart/form-data": {"schema": _FORM},
        "application/json": {"schema": _JSON},
    },
}
"""The request's body in OpenAPI's terms."""


class NetworkQuery(BaseModel):
    """The query parameters of pictures and of streams. The server checks the ranges of the thresholds."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field("pose", description="a network of GET /v1/models")
    bbox_threshold: float | None = Field(None, description="people with a lower score are dropped")
    nms_threshold: float | None = Field(None, description="overlap above which two boxes are one person")
    max_persons: int | None = Field(None, description="the best so many people are kept")

    @property
    def options(self) -> Options:
        """The thresholds and limits as the client's options."""
        return Options(self.bbox_threshold, self.nms_threshold, self.max_persons)


class PoseQuery(NetworkQuery):
    """The query parameters of a picture."""

    timeout_s: float | None = Field(None, gt=0, description="deadline in seconds; the gateway's own is the longest")
    describe: bool = Field(False, description="also answer keypoint_names and edges")


@dataclass(frozen=True)
class PoseRoute:
    """The endpoint, with what it needs."""

    settings: Settings
    networks: Networks
    budget: Budget

    async def post(self, request: Request, query: Annotated[PoseQuery, Query()]) -> Response:
        """Find the people in a picture: the JSON of `cigpose-client image`, without the picture's name."""
        started = time.perf_counter()
        with self.budget.share() as share:
            picture = await Body(self.settings, share).picture(request)
            read = time.perf_counter()
            poses = await _unless_gone(request, self._estimate(picture, query))
        served = time.perf_counter()
        record = poses.to_dict()
        if query.describe:
            record |= skeletons(record)
        content = json.dumps(record, separators=(",", ":"))
        ends = (started, read, served, time.perf_counter())
        return Response(content, media_type="application/json", headers={"Server-Timing": _timing(ends)})

    async def _estimate(self, picture: Picture, query: PoseQuery) -> Poses:
        client, served = await self.networks.client(query.model)
        timeout_s = min(query.timeout_s or self.settings.timeout_s, self.settings.timeout_s)
        if picture.boxes is None:
            return await client.estimate(picture.encoded, query.options, timeout_s=timeout_s)
        if not served.takes_boxes:
            raise Problem(422, f"{served.name} finds people without boxes; leave boxes out or choose another model")
        given = [name for name, value in vars(query.options).items() if value is not None]
        if given:
            raise Problem(422, f"{given[0]} does not apply to given boxes; leave it out")
        return await client.estimate_boxes(picture.encoded, picture.boxes, timeout_s=timeout_s)


def _timing(ends: tuple[float, ...]) -> str:
    """Return the header `Server-Timing`: milliseconds to read the body, of the pose server, and to write the answer."""
    spans = zip(("read", "server", "write"), ends, ends[1:], strict=False)
    return ", ".join(f"{name};dur={1000 * (end - start):.1f}" for name, start, end in spans)


async def _unless_gone(request: Request, work: Awaitable[_Result]) -> _Result:
    """Return the result of `work`, and cancel it when the caller hangs up.

    Raises:
        ClientDisconnect: the caller has hung up.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_hang_up(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return await task
    finally:
        pending: list[asyncio.Future[Any]] = [future for future in (task, gone) if future.cancel()]
        await asyncio.gather(*pending, return_exceptions=True)


async def _hang_up(request: Request) -> None:
    """Wait until the caller has hung up; the body has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
