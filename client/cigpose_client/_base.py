"""Base of the synchronous and the asynchronous client: their settings, and every call as a generator of steps."""

import copy
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy.typing as npt

from cigpose_client import _protocol as protocol
from cigpose_client._connection import DEFAULT_URL, Tls, grpc_headers, transport_arguments
from cigpose_client._errors import DeadlineExceeded, PoseClientError
from cigpose_client._image import ArrayFormat, Image, checked_format, encoded
from cigpose_client._info import info_call
from cigpose_client._protocol import AnyOptions, Options, as_options
from cigpose_client._retry import Call, Limit, Retry, Sleep, call

DEFAULT_TIMEOUT_S = 30.0
_Client = TypeVar("_Client", bound="BaseClient")
_LEARN_S = 1.0  # for the name of the keypoint set, which is asked for once


class BaseClient:
    """Settings and calls; the subclasses perform the calls.

    Args:
        url: the server's gRPC address: `host:port`, `dns:///host:port` for every address behind a name, or
            `ipv4:host:port,host:port`. Calls take turns among the servers that are connected.
        model: `pose` (the server's default network) or a network's name.
        timeout_s: seconds that one call may take, retries included.
        options: thresholds and limits of calls without options: `Options`, or a mapping of its fields.
        retry: pauses between tries; None turns retries off.
        on_retry: called with the error before each pause, in the call's thread; an exception from it ends the call.
        headers: sent with every call, for instance `{"authorization": "Bearer ..."}`; or a function that
            returns those of the next call.
        tls: certificates of an encrypted connection; None for an unencrypted one.
        array_format: encoding of pixels: `bmp` is lossless; `jpeg` (quality 95) is smaller and needs the extra
            `draw`; `auto` is `bmp` up to the server's limit of 32,000,000 bytes and `jpeg` above it.
        max_boxes: given boxes of one request; longer lists are split. The server's limit is its network's
            `max_batch_size`.
        transport: replaces tritonclient's client in tests.

    Raises:
        OSError: a TLS file cannot be read.
        TypeError: `options` is neither `Options` nor a mapping of numbers.
        ValueError: `url` is not a gRPC address with a port, or an option or `array_format` is unknown.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        model: str = "pose",
        timeout_s: float = DEFAULT_TIMEOUT_S,
        options: AnyOptions | None = None,
        retry: Retry | None = Retry(),  # noqa: B008 - frozen
        on_retry: Callable[[PoseClientError], None] | None = None,
        headers: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None,
        tls: Tls | None = None,
        array_format: ArrayFormat = "auto",
        max_boxes: int = 32,
        transport: Any = None,
    ):
        self.url = url
        self.model = model
        self.ensemble = protocol.ensemble_name(model)
        self._timeout_s = timeout_s
        self._options = as_options(options)
        self._retry = retry
        self._on_retry = on_retry
        self._stated_headers = headers
        self._array_format = checked_format(array_format)
        self._max_boxes = max_boxes
        self._closed = False
        self._transport = transport or self._connect(transport_arguments(url, tls))
        self._stated: tuple[str, str] | None = None  # keypoint set and kind of the network, once they are known
        self._retries = 0
        self._lock = threading.Lock()

    @staticmethod
    def _connect(arguments: dict[str, Any]) -> Any:
        """Return tritonclient's client; it is imported here, because gRPC reads its settings at import."""
        raise NotImplementedError

    @property
    def retries(self) -> int:
        """Number of retries since the client was created."""
        return self._retries

    @property
    def _headers(self) -> dict[str, str]:
        stated = self._stated_headers
        return grpc_headers(stated() if callable(stated) else stated)

    def with_model(self: _Client, model: str) -> _Client:
        """Return a client for another model of the same server. It shares this client's connection: close only one."""
        other = copy.copy(self)
        other.model, other.ensemble = model, protocol.ensemble_name(model)
        other._stated, other._retries, other._lock = None, 0, threading.Lock()
        return other

    def _pose_call(self, image: Image, options: AnyOptions | None, timeout_s: float | None) -> Call:
        limit, options = self._limit(timeout_s), self._or_own(options)
        request = protocol.pose_request(self.model, self._encoded(image), options)
        return self._infer_poses(request, limit)

    def _detection_call(self, image: Image, options: AnyOptions | None, timeout_s: float | None) -> Call:
        limit, options = self._limit(timeout_s), self._or_own(options)
        request = protocol.detection_request(self.model, self._encoded(image), options)
        return self._infer_detections(request, limit)

    def _boxes_calls(self, image: Image, boxes: npt.ArrayLike, timeout_s: float | None) -> list[Call]:
        limit = self._limit(timeout_s)
        runs = protocol.split_boxes(protocol.checked_boxes(boxes), self._max_boxes)
        picture = self._encoded(image)
        requests = [protocol.boxes_request(self.model, picture, run) for run in runs]
        return [self._infer_poses(request, limit) for request in requests]

    def _frame_call(self, picture: bytes, boxes: npt.ArrayLike | None, options: Options, limit: Limit) -> Call:
        """Return the call for one frame of a stream: the people in `boxes`, or for None those of the detector."""
        if boxes is None:
            return (yield from self._infer_poses(protocol.pose_request(self.model, picture, options), limit))
        parts = []
        for run in protocol.split_boxes(protocol.checked_boxes(boxes), self._max_boxes):
            request = protocol.boxes_request(self.model, picture, run)
            parts.append((yield from self._infer_poses(request, limit)))
        return protocol.stitch(parts)

    def _info_call(self, timeout_s: float | None) -> Call:
        limit = self._limit(timeout_s)
        return info_call(lambda method, arguments: self._call(method, arguments, limit), self.ensemble)

    def _ready_call(self, timeout_s: float | None) -> Call:
        try:
            return (yield from self._call("is_model_ready", {"model_name": self.ensemble}, self._limit(timeout_s)))
        except PoseClientError:
            return False

    def _infer_detections(self, request: dict[str, Any], limit: Limit) -> Call:
        return protocol.parse_detections((yield from self._call("infer", request, limit)))

    def _infer_poses(self, request: dict[str, Any], limit: Limit) -> Call:
        answer = yield from self._call("infer", request, limit)
        if self._stated is None:
            yield from self._learn(Limit(min(limit.left_s, _LEARN_S)))
        return protocol.parse_poses(answer, *(self._stated or ("", "")))

    def _learn(self, limit: Limit) -> Call:
        """Read the name of the keypoint set and the kind of the network from the model's configuration.

        A failure does not fail the call: the number of keypoints decides then, and the network counts as top-down. A
        server that does not show its configuration is not asked again.
        """
        arguments = {"model_name": self.ensemble, "headers": self._headers}
        try:
            answer = yield from call("get_model_config", arguments, limit=limit, retry=None, url=self.url)
            parameters = answer.config.parameters
            self._stated = parameters["keypoint_set"].string_value, parameters["kind"].string_value
        except PoseClientError as error:
            if not error.transient and not isinstance(error, DeadlineExceeded):
                self._stated = "", ""

    def _call(self, method: str, arguments: dict[str, Any], limit: Limit) -> Call:
        arguments = arguments | {"headers": self._headers}
        return call(method, arguments, limit=limit, retry=self._retry, url=self.url)

    def _encoded(self, image: Image) -> bytes:
        return encoded(image, self._array_format)

    def _limit(self, timeout_s: float | None) -> Limit:
        return Limit(self._timeout_s if timeout_s is None else timeout_s)

    def _or_own(self, options: AnyOptions | None) -> Options:
        return self._options if options is None else as_options(options)

    def _before(self, pause: Sleep) -> float:
        """Count one retry, report its error to `on_retry`, and return the seconds to wait before it."""
        with self._lock:
            self._retries += 1
        if self._on_retry is not None:
            self._on_retry(pause.error)
        return pause.seconds
