"""The streams of the two clients: they hold the state and swap it once a frame has its answer."""

import asyncio
import threading
from typing import TYPE_CHECKING, cast

from cigpose_client._image import Image
from cigpose_client._poses import FloatArray, Poses
from cigpose_client._protocol import Options
from cigpose_client._retry import Call, Limit
from cigpose_client.streams.appearance import Pixels
from cigpose_client.streams.frame import frame_call, frame_pixels
from cigpose_client.streams.options import StreamOptions, is_finite
from cigpose_client.streams.tracks import State

if TYPE_CHECKING:
    from cigpose_client._async_client import AsyncPoseClient
    from cigpose_client._client import PoseClient


class PoseStream:
    """The people of one film or camera, made by `PoseClient.stream`.

    Frames are passed in order. Threads may call `update`; the calls run one after another.
    """

    def __init__(self, client: "PoseClient", options: StreamOptions, request: Options):
        self._client = client
        self._options = options
        self._request = request
        self._lock = threading.Lock()
        self._state = State()

    def update(self, image: Image, time_s: float, *, timeout_s: float | None = None) -> Poses:
        """Return the people in a frame with their `track_ids`, smoothed if the stream was made so.

        A frame that fails changes nothing: the stream goes on with the next one.

        Args:
            image: the frame, as for `PoseClient.estimate`.
            time_s: its time in seconds, from any start. A time before that of the last frame, or a long step ahead
                (a seek), begins with new people.
            timeout_s: as for `PoseClient.estimate`, for all requests of this frame. The time in which calls before this
                one are answered does not count.

        Raises:
            ValueError: `time_s` is no finite number.
        """
        picture = self._client._encoded(image)
        with self._lock:
            limit = self._client._limit(timeout_s)
            pixels = frame_pixels(self._state, self._options, image, picture)
            call = _call(self._client, self._state, self._options, self._request, picture, pixels, time_s, limit)
            self._state, poses = cast("tuple[State, Poses]", self._client._run(call))
        return poses

    @property
    def detected(self) -> bool:
        """Whether the detector ran for the last frame."""
        return 0 <= self._state.detected_frame == self._state.frame - 1

    def reset(self) -> None:
        """Forget all people; ids go on."""
        with self._lock:
            self._state = State(next_id=self._state.next_id)


class AsyncPoseStream:
    """`PoseStream` for asyncio, made by `AsyncPoseClient.stream`: the same methods, awaited."""

    def __init__(self, client: "AsyncPoseClient", options: StreamOptions, request: Options):
        self._client = client
        self._options = options
        self._request = request
        self._lock = asyncio.Lock()
        self._state = State()

    async def update(self, image: Image, time_s: float, *, timeout_s: float | None = None) -> Poses:
        """See `PoseStream.update`."""
        async with self._lock:  # from the start: frames stay in the order of the calls
            limit = self._client._limit(timeout_s)
            picture = await asyncio.to_thread(self._client._encoded, image)
            pixels = None
            if self._options.appearance:
                pixels = await asyncio.to_thread(frame_pixels, self._state, self._options, image, picture)
            call = _call(self._client, self._state, self._options, self._request, picture, pixels, time_s, limit)
            self._state, poses = cast("tuple[State, Poses]", await self._client._run(call))
        return poses

    @property
    def detected(self) -> bool:
        """Whether the detector ran for the last frame."""
        return 0 <= self._state.detected_frame == self._state.frame - 1

    async def reset(self) -> None:
        """See `PoseStream.reset`."""
        async with self._lock:
            self._state = State(next_id=self._state.next_id)


def _call(
    client: "PoseClient | AsyncPoseClient",
    state: State,
    options: StreamOptions,
    request: Options,
    picture: bytes,
    pixels: Pixels | None,
    time_s: float,
    limit: Limit,
) -> Call:
    if not is_finite(time_s):
        raise ValueError(f"time_s is {time_s!r}; give the frame's time in seconds")

    def ask(boxes: FloatArray | None) -> Call:
        return client._frame_call(picture, boxes, request, limit)

    return frame_call(state, float(time_s), options, ask, pixels)
