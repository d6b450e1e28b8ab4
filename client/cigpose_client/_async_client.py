"""The asynchronous client: the same calls, performed by asyncio."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Any, TypeVar, cast

import numpy.typing as npt
from tritonclient.utils import InferenceServerException

from cigpose_client._base import BaseClient
from cigpose_client._errors import CLOSED, PICTURE_FAILURES
from cigpose_client._image import Image
from cigpose_client._info import ServerInfo
from cigpose_client._many import in_order_async
from cigpose_client._poses import Detections, Poses
from cigpose_client._protocol import AnyOptions, stitch
from cigpose_client._retry import Call, Done, Send, Sleep, advance
from cigpose_client.streams.options import Smoothing, StreamOptions
from cigpose_client.streams.stream import AsyncPoseStream

_Client = TypeVar("_Client", bound="AsyncPoseClient")


class AsyncPoseClient(BaseClient):
    """`PoseClient` for asyncio: the same names, arguments and errors, awaited. Create it inside the running loop.

    Example:
        async with AsyncPoseClient("localhost:8001") as client:
            poses = await client.estimate("photo.jpg")
    """

    @staticmethod
    def _connect(arguments: dict[str, Any]) -> Any:
        from tritonclient.grpc.aio import InferenceServerClient

        return InferenceServerClient(**arguments)

    async def estimate(
        self, image: Image, options: AnyOptions | None = None, *, timeout_s: float | None = None
    ) -> Poses:
        """See `PoseClient.estimate`."""
        return cast(Poses, await self._run(await _in_thread(self._pose_call, image, options, timeout_s)))

    async def estimate_boxes(self, image: Image, boxes: npt.ArrayLike, *, timeout_s: float | None = None) -> Poses:
        """See `PoseClient.estimate_boxes`."""
        calls = await _in_thread(self._boxes_calls, image, boxes, timeout_s)
        return stitch(list(await asyncio.gather(*map(self._run, calls))))

    async def detect(
        self, image: Image, options: AnyOptions | None = None, *, timeout_s: float | None = None
    ) -> Detections:
        """See `PoseClient.detect`."""
        return cast(Detections, await self._run(await _in_thread(self._detection_call, image, options, timeout_s)))

    async def estimate_many(
        self, images: Iterable[Image] | AsyncIterable[Image], options: AnyOptions | None = None, *, in_flight: int = 8
    ) -> AsyncIterator[Poses]:
        """See `PoseClient.estimate_many`; `images` may also be an asynchronous iterable."""
        own = self._or_own(options)
        async with aclosing(in_order_async(lambda image: self.estimate(image, own), images, in_flight)) as answers:
            async for poses in answers:
                yield poses

    async def attempt_many(
        self, images: Iterable[Image] | AsyncIterable[Image], options: AnyOptions | None = None, *, in_flight: int = 8
    ) -> AsyncIterator[Poses | Exception]:
        """See `PoseClient.attempt_many`; `images` may also be an asynchronous iterable."""
        own = self._or_own(options)

        async def attempt(image: Image) -> Poses | Exception:
            try:
                return await self.estimate(image, own)
            except PICTURE_FAILURES as error:
                return error

        async with aclosing(in_order_async(attempt, images, in_flight)) as outcomes:
            async for outcome in outcomes:
                yield outcome

    def stream(
        self,
        *,
        detect_every: int = 1,
        detect_every_s: float | None = None,
        smooth: bool | Smoothing = True,
        max_lost_s: float = 3.0,
        appearance: bool = True,
        options: AnyOptions | None = None,
    ) -> AsyncPoseStream:
        """See `PoseClient.stream`."""
        settings = StreamOptions(detect_every, detect_every_s, smooth, max_lost_s, appearance=appearance)
        return AsyncPoseStream(self, settings, self._or_own(options))

    async def is_ready(self, *, timeout_s: float | None = None) -> bool:
        """See `PoseClient.is_ready`."""
        return cast(bool, await self._run(self._ready_call(timeout_s)))

    async def info(self, *, timeout_s: float | None = None) -> ServerInfo:
        """See `PoseClient.info`."""
        return cast(ServerInfo, await self._run(self._info_call(timeout_s)))

    async def close(self) -> None:
        """Close the connection; later calls fail."""
        self._closed = True
        await self._transport.close()

    async def __aenter__(self: _Client) -> _Client:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def _run(self, call: Call) -> Any:
        step = advance(call)
        while not isinstance(step, Done):
            step = advance(call, await self._perform(step))
        return step.result

    async def _perform(self, step: Send | Sleep) -> Any:
        if isinstance(step, Sleep):
            return await asyncio.sleep(self._before(step))
        if self._closed:
            return CLOSED
        try:
            return await getattr(self._transport, step.method)(**step.arguments, client_timeout=step.timeout_s)
        except InferenceServerException as error:
            return error


async def _in_thread(prepare: Callable[..., Any], *arguments: Any) -> Any:
    """Call `prepare` in a thread: it reads the file and packs the request, which would block the loop."""
    return await asyncio.to_thread(prepare, *arguments)
