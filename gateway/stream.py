"""`WS /v1/stream`: frames of one camera or film in, people with ids out.

Binary messages are encoded frames; a text message `{"time_s": 1.5}` before one states its time. One frame of a
connection is in flight. A frame that arrives meanwhile waits, and the next one replaces it.
"""

import asyncio
import contextlib
import json
import random
import time
from dataclasses import dataclass
from typing import Any, cast

from cigpose_client import Overloaded, PoseClientError, Poses
from cigpose_client.streams import StreamOptions
from pydantic import Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from gateway.limits import Budget, Share
from gateway.metrics import Metrics
from gateway.networks import Networks
from gateway.poses import NetworkQuery
from gateway.problems import Problem, problem_of, query_problem
from gateway.settings import Settings

PROTOCOL = "cigpose"
"""The subprotocol, for callers that name one."""

_PAUSES_S = (0.05, 0.3)  # shortest and longest, before the newest frame is sent to an overloaded server again
_POLICY_VIOLATION = 1008


class StreamQuery(NetworkQuery):
    """The query parameters of a stream; see `PoseClient.stream`."""

    detect_every: int = Field(1, ge=1, description="the detector runs in every N-th frame")
    smooth: bool = Field(True, description="whether keypoints are smoothed")
    max_lost_s: float = Field(
        StreamOptions.max_lost_s,
        ge=0,
        allow_inf_nan=False,
        description="seconds for which a lost person keeps the id",
    )


@dataclass(frozen=True)
class _Frame:
    """A frame with its number, counted from 0, its time in the stream, and its arrival."""

    number: int
    encoded: bytes
    time_s: float
    arrived: float


class _Newest:
    """Holds the newest frame that waits, and the frames' share of the budget."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._frame: _Frame | None = None
        self._filled = asyncio.Event()

    def put(self, frame: _Frame) -> bool:
        """Keep `frame`. Return whether it replaces one that waited. Raises: `Problem` 503 beyond the budget."""
        replaced = self._frame
        self._share.add(len(frame.encoded) - (len(replaced.encoded) if replaced else 0))
        self._frame = frame
        self._filled.set()
        return replaced is not None

    def put_back(self, frame: _Frame) -> None:
        """Keep a frame that was taken if no newer one has arrived."""
        if self._frame is None:
            self._frame = frame
            self._filled.set()
        else:
            self.forget(frame)

    def forget(self, frame: _Frame) -> None:
        """Hold a frame that was taken no longer."""
        self._share.add(-len(frame.encoded))

    async def wait(self) -> None:
        """Wait until there is a frame."""
        await self._filled.wait()

    def take(self) -> _Frame:
        """Return the frame, which stays a part of the share."""
        frame, self._frame = self._frame, None
        self._filled.clear()
        assert frame is not None
        return frame


class Streams:
    """The endpoint. All streams together send `stream_requests` requests at one time, in turn."""

    def __init__(self, settings: Settings, networks: Networks, metrics: Metrics, budget: Budget):
        self._settings = settings
        self._networks = networks
        self._metrics = metrics
        self._budget = budget
        self._turns = asyncio.Semaphore(settings.stream_requests)

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection until the caller closes it."""
        offered = socket.headers.get("sec-websocket-protocol", "")
        await socket.accept(PROTOCOL if PROTOCOL in offered.replace(" ", "").split(",") else None)
        with contextlib.suppress(WebSocketDisconnect), self._budget.share() as share:  # while an answer was sent
            try:
                stream = await self._open(socket)
            except (PoseClientError, Problem) as error:
                await _send(socket, _problem(error).to_dict())
                await socket.close(_POLICY_VIOLATION)
                return
            await self._run(socket, stream, _Newest(share))

    async def _run(self, socket: WebSocket, stream: Any, newest: _Newest) -> None:
        tasks = [
            asyncio.create_task(self._receive(socket, newest)),
            asyncio.create_task(self._answer(socket, stream, newest)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()  # the request in flight ends with its connection
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _open(self, socket: WebSocket) -> Any:
        try:
            query = StreamQuery.model_validate(dict(socket.query_params))
        except ValidationError as error:
            raise query_problem(error.errors()[0]) from None
        client, _ = await self._networks.client(query.model)
        return client.stream(
            detect_every=query.detect_every,
            smooth=query.smooth,
            max_lost_s=query.max_lost_s,
            appearance=False,  # the gateway decodes no pictures of its callers
            options=query.options,
        )

    async def _receive(self, socket: WebSocket, newest: _Newest) -> None:
        """Read messages until the caller closes the connection."""
        number, stated = 0, None
        while (message := await socket.receive())["type"] != "websocket.disconnect":
            if message.get("bytes") is None:
                stated = _time_s(message.get("text") or "")
                continue
            arrived = time.monotonic()
            frame = _Frame(number, message["bytes"], arrived if stated is None else stated, arrived)
            number, stated = number + 1, None
            try:
                if newest.put(frame):
                    self._metrics.frame("replaced")
            except Problem as problem:
                self._metrics.frame("failed")
                await _send(socket, {"frame": frame.number, "time_s": frame.time_s, **problem.to_dict()})

    async def _answer(self, socket: WebSocket, stream: Any, newest: _Newest) -> None:
        """Answer the newest frame, again and again."""
        while True:
            await newest.wait()
            async with self._turns:
                frame, started = newest.take(), time.perf_counter()  # the newest one at the time of the turn
                outcome = await self._outcome(stream, frame)
            if outcome is None:
                newest.put_back(frame)
                await asyncio.sleep(random.uniform(*_PAUSES_S))
                continue
            newest.forget(frame)
            self._metrics.frame("failed" if isinstance(outcome, Problem) else "answered")
            if not isinstance(outcome, Problem) and stream.detected:
                self._metrics.detection()
            spent_ms = round(1000 * (time.perf_counter() - started), 1)
            key = {"frame": frame.number, "time_s": frame.time_s, "server_ms": spent_ms}
            await _send(socket, {**key, **outcome.to_dict()})

    async def _outcome(self, stream: Any, frame: _Frame) -> Poses | Problem | None:
        """Return the people in a frame, or the problem; None if the server is overloaded and the frame is recent."""
        try:
            return cast(Poses, await stream.update(frame.encoded, frame.time_s, timeout_s=self._settings.timeout_s))
        except Overloaded as error:
            is_recent = time.monotonic() - frame.arrived < self._settings.timeout_s
            return None if is_recent else problem_of(error)
        except PoseClientError as error:
            return problem_of(error)


def _problem(error: PoseClientError | Problem) -> Problem:
    return error if isinstance(error, Problem) else problem_of(error)


def _time_s(text: str) -> float | None:
    """Return the time that a text message states; None without one, so that the time of arrival counts."""
    try:
        value = json.loads(text)["time_s"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return float(value) if type(value) in (int, float) and abs(value) < 1e12 else None


async def _send(socket: WebSocket, content: dict[str, Any]) -> None:
    if socket.client_state == WebSocketState.CONNECTED:
        await socket.send_text(json.dumps(content, separators=(",", ":")))
