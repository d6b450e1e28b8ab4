"""The synchronous client."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import numpy.typing as npt
from tritonclient.utils import InferenceServerException

from cigpose_client._base import BaseClient
from cigpose_client._errors import CLOSED, PICTURE_FAILURES
from cigpose_client._image import Image
from cigpose_client._info import ServerInfo
from cigpose_client._many import in_order
from cigpose_client._poses import Detections, Poses
from cigpose_client._protocol import AnyOptions, stitch
from cigpose_client._retry import Call, Done, Send, Sleep, advance
from cigpose_client.streams.options import Smoothing, StreamOptions
from cigpose_client.streams.stream import PoseStream

_PARALLEL_RUNS = 4
_Client = TypeVar("_Client", bound="PoseClient")


class PoseClient(BaseClient):
    """Client that finds people and their keypoints in pictures. Threads may share it.

    Example:
        with PoseClient("localhost:8001") as client:
            poses = client.estimate("photo.jpg")
        poses.keypoints, poses.keypoint_scores  # (N, K, 2) pixels; (N, K)

    An image is a path, an encoded picture, (H, W, 3) uint8 BGR pixels (numpy, or any object with `__array__`), or a PIL
    image. Every method raises `PoseClientError` when the call to the server fails, OSError when a file cannot be read,
    and TypeError or ValueError when an argument has the wrong type or shape.
    """

    @staticmethod
    def _connect(arguments: dict[str, Any]) -> Any:
        from tritonclient.grpc import InferenceServerClient

        return InferenceServerClient(**arguments)

    def estimate(self, image: Image, options: AnyOptions | None = None, *, timeout_s: float | None = None) -> Poses:
        """Return the people in `image` with their keypoints, best box score first.

        Args:
            image: a path, an encoded picture, (H, W, 3) uint8 BGR pixels, or a PIL image.
            options: thresholds and limits that replace the client's: `Options`, or a mapping of its fields.
            timeout_s: seconds for this call, retries included; None for the client's.
        """
        return cast(Poses, self._run(self._pose_call(image, options, timeout_s)))

    def estimate_boxes(self, image: Image, boxes: npt.ArrayLike, *, timeout_s: float | None = None) -> Poses:
        """Return the keypoints of the people in `boxes`, in the order of the boxes.

        Args:
            image: as for `estimate`.
            boxes: (N, 4) left, top, right, bottom in pixels of the upright picture; N has no limit.
            timeout_s: as for `estimate`.
        """
        calls = self._boxes_calls(image, boxes, timeout_s)
        if len(calls) == 1:
            return cast(Poses, self._run(calls[0]))
        with ThreadPoolExecutor(_PARALLEL_RUNS) as pool:
            return stitch(list(pool.map(self._run, calls)))

    def detect(self, image: Image, options: AnyOptions | None = None, *, timeout_s: float | None = None) -> Detections:
        """Return the people in `image` without keypoints; the pose network does not run. Arguments: see `estimate`."""
        return cast(Detections, self._run(self._detection_call(image, options, timeout_s)))

    def estimate_many(
        self, images: Iterable[Image], options: AnyOptions | None = None, *, in_flight: int = 8
    ) -> Iterator[Poses]:
        """Yield `estimate(image)` for each of `images`, in order, with concurrent requests.

        Memory stays bounded: `images` is read in the caller's thread, at most `2 * in_flight` ahead. The first failure
        ends the iteration; `attempt_many` continues after failures.

        Args:
            images: each as for `estimate`.
            options: as for `estimate`.
            in_flight: number of concurrent requests.
        """
        own = self._or_own(options)  # here, so that wrong options raise before the first answer is asked for
        return in_order(lambda image: self.estimate(image, own), images, in_flight)

    def attempt_many(
        self, images: Iterable[Image], options: AnyOptions | None = None, *, in_flight: int = 8
    ) -> Iterator[Poses | Exception]:
        """Yield as `estimate_many` does, with the exception in the place of an image that failed."""
        own = self._or_own(options)

        def attempt(image: Image) -> Poses | Exception:
            try:
                return self.estimate(image, own)
            except PICTURE_FAILURES as error:
                return error

        return in_order(attempt, images, in_flight)

    def stream(
        self,
        *,
        detect_every: int = 1,
        detect_every_s: float | None = None,
        smooth: bool | Smoothing = True,
        max_lost_s: float = 3.0,
        appearance: bool = True,
        options: AnyOptions | None = None,
    ) -> PoseStream:
        """Return the stream of one film or camera: its people keep their ids from frame to frame.

        Args:
            detect_every: frames from one detection to the next; between, people are looked for where they were. The
                detector also runs when a person is not found well, and while nobody is known.
            detect_every_s: seconds in place of `detect_every`.
            smooth: whether keypoints are smoothed, or the parameters of the filter.
            max_lost_s: seconds for which a lost person keeps the id.
            appearance: whether colours of clothes and skin help to tell people apart. Frames other than arrays need
                OpenCV for it (extra `draw`).
            options: as for `estimate`.

        Raises:
            ValueError: an argument is outside its range.
        """
        settings = StreamOptions(detect_every, detect_every_s, smooth, max_lost_s, appearance=appearance)
        return PoseStream(self, settings, self._or_own(options))

    def is_ready(self, *, timeout_s: float | None = None) -> bool:
        """Return whether the server answers and serves the client's model; never raises `PoseClientError`."""
        return cast(bool, self._run(self._ready_call(timeout_s)))

    def info(self, *, timeout_s: float | None = None) -> ServerInfo:
        """Return what the server serves, as far as its open APIs show it."""
        return cast(ServerInfo, self._run(self._info_call(timeout_s)))

    def close(self) -> None:
        """Close the connection; later calls fail."""
        self._closed = True
        self._transport.close()

    def __enter__(self: _Client) -> _Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _run(self, call: Call) -> Any:
        step = advance(call)
        while not isinstance(step, Done):
            step = advance(call, self._perform(step))
        return step.result

    def _perform(self, step: Send | Sleep) -> Any:
        if isinstance(step, Sleep):
            return time.sleep(self._before(step))
        if self._closed:
            return CLOSED
        try:
            return getattr(self._transport, step.method)(**step.arguments, client_timeout=step.timeout_s)
        except InferenceServerException as error:
            return error
