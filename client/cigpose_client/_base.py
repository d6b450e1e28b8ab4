"""What the synchronous and the asynchronous client share: settings, and every call as a generator of steps."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt
from tritonclient.grpc import InferResult

from cigpose_client import _protocol as protocol
from cigpose_client._connection import Tls, grpc_headers, transport_arguments
from cigpose_client._errors import PoseClientError
from cigpose_client._image import ArrayFormat, Image, encoded
from cigpose_client._info import info_call
from cigpose_client._protocol import Options
from cigpose_client._retry import Call, Retry, Sleep, call


class BaseClient:
    """Settings and calls; the subclasses carry them out.

    Args:
        url: the server's gRPC address: `host:port`, `dns:///host:port` for every address behind a name, or
            `ipv4:host:port,host:port`. Calls take turns among the servers that are connected.
        model: `pose` (the server's default network) or a network's name.
        timeout_s: seconds that one call may take, retries included.
        options: thresholds and limits for every call that names no others.
        retry: when to try again; None for never.
        headers: sent with every call, for instance `{"authorization": "Bearer ..."}`.
        tls: for an encrypted connection.
        array_format: how pixels travel: `bmp` loses nothing, `jpeg` is smaller and needs the extra `draw`.
        max_boxes: given boxes are sent in runs of so many; the server's limit is its network's `max_batch_size`.
        transport: replaces tritonclient's client, for tests.

    Raises:
        OSError: a TLS file cannot be read.
        ValueError: `url` is a web address.
    """

    _transport_type: Callable[..., Any]

    def __init__(
        self,
        url: str,
        *,
        model: str = "pose",
        timeout_s: float = 30.0,
        options: Options | None = None,
        retry: Retry | None = Retry(),  # noqa: B008 - frozen
        headers: Mapping[str, str] | None = None,
        tls: Tls | None = None,
        array_format: ArrayFormat = "bmp",
        max_boxes: int = 32,
        transport: Any = None,
    ):
        self.url = url
        self.model = model
        self.ensemble = protocol.ensemble_name(model)
        self._timeout_s = timeout_s
        self._options = options or Options()
        self._retry = retry
        self._headers = grpc_headers(headers)
        self._array_format: ArrayFormat = array_format
        self._max_boxes = max_boxes
        self._transport = transport or self._transport_type(**transport_arguments(url, tls))
        self._retries = 0
        self._lock = threading.Lock()

    @property
    def retries(self) -> int:
        """How many times so far a request was sent again."""
        return self._retries

    def _pose_call(self, image: Image, options: Options | None, timeout_s: float | None) -> Call:
        deadline_s = self._deadline(timeout_s)
        request = protocol.pose_request(self.model, encoded(image, self._array_format), options or self._options)
        return self._infer(request, protocol.parse_poses, deadline_s)

    def _detection_call(self, image: Image, options: Options | None, timeout_s: float | None) -> Call:
        deadline_s = self._deadline(timeout_s)
        request = protocol.detection_request(self.model, encoded(image, self._array_format), options or self._options)
        return self._infer(request, protocol.parse_detections, deadline_s)

    def _boxes_calls(self, image: Image, boxes: npt.ArrayLike, timeout_s: float | None) -> list[Call]:
        deadline_s = self._deadline(timeout_s)
        runs = protocol.split_boxes(protocol.checked_boxes(boxes), self._max_boxes)
        picture = encoded(image, self._array_format)
        requests = [protocol.boxes_request(self.model, picture, run) for run in runs]
        return [self._infer(request, protocol.parse_poses, deadline_s) for request in requests]

    def _info_call(self, timeout_s: float | None) -> Call:
        deadline_s = self._deadline(timeout_s)
        return info_call(lambda method, arguments: self._call(method, arguments, deadline_s), self.ensemble)

    def _ready_call(self, timeout_s: float | None) -> Call:
        try:
            return (yield from self._call("is_model_ready", {"model_name": self.ensemble}, self._deadline(timeout_s)))
        except PoseClientError:
            return False

    def _infer(self, request: dict[str, Any], parse: Callable[[InferResult], Any], deadline_s: float) -> Call:
        answer = yield from self._call("infer", request, deadline_s)
        return parse(answer)

    def _call(self, method: str, arguments: dict[str, Any], deadline_s: float) -> Call:
        arguments = arguments | {"headers": self._headers}
        return call(method, arguments, deadline_s=deadline_s, retry=self._retry, url=self.url)

    def _deadline(self, timeout_s: float | None) -> float:
        return time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)

    def _count(self, pause: Sleep) -> float:
        """Count one retry and return the seconds to wait before it."""
        with self._lock:
            self._retries += 1
        return pause.seconds
