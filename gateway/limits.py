"""Who may call, and how often: token, rate of a caller, origin, and the number of requests and streams at one time."""

import hmac
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from gateway.problems import Problem, busy
from gateway.settings import Settings

GUARDED = "/v1/"
TOKEN_PROTOCOL = "bearer."
"""Prefix of the subprotocol that carries the token: browsers cannot set a WebSocket's headers."""

_MOST_CALLERS = 10_000
_BURST_S = 2.0


class Rate:
    """A bucket of requests for each caller, filled at `rate` a second up to `rate` times two seconds.

    Args:
        rate: requests a second; 0 for no limit.
        clock: seconds, monotonic.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic):
        self._rate = rate
        self._clock = clock
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests above the fill, and their time

    def wait_s(self, caller: str) -> float:
        """Count one request. Return 0 if it is within the limit, else the seconds until one is accepted."""
        if not self._rate:
            return 0.0
        now = self._clock()
        spent, before = self._spent.pop(caller, (0.0, now))
        spent = max(0.0, spent - (now - before) * self._rate)
        over = spent + 1 - max(1.0, self._rate * _BURST_S)
        self._spent[caller] = (spent if over > 0 else spent + 1, now)
        if len(self._spent) > _MOST_CALLERS:  # the one that has been silent for the longest time
            self._spent.popitem(last=False)
        return max(0.0, over / self._rate)


class Places:
    """Counts what runs at one time.

    Args:
        limit: largest number.
        name: of what is counted, for the refusal.
    """

    def __init__(self, limit: int, name: str):
        self._limit = limit
        self._name = name
        self.taken = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place for the block. Raises: `Problem` 503 if none is free."""
        if self.taken >= self._limit:
            raise busy(f"the gateway's limit of {self._limit} concurrent {self._name} is reached; try again later")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class Budget:
    """Limits the bytes of pictures in memory at one time: of bodies and of frames, complete or not."""

    def __init__(self, limit: int):
        self._limit = limit
        self._held = 0

    def share(self) -> "Share":
        """Return a share that holds nothing yet."""
        return Share(self)

    def add(self, size: int) -> None:
        """Count bytes, or fewer if `size` is negative. Raises: `Problem` 503, and counts none, beyond the limit."""
        if size > 0 and self._held + size > self._limit:
            raise busy("the gateway holds too many pictures at present; try again later")
        self._held += size


class Share:
    """What one request or connection holds of a budget, until the end of a `with` block or `close`."""

    def __init__(self, budget: Budget):
        self._budget = budget
        self.size = 0

    def add(self, size: int) -> None:
        """Hold `size` bytes more, or fewer if it is negative. Raises: `Problem` 503 beyond the budget."""
        self._budget.add(size)
        self.size += size

    def close(self) -> None:
        """Hold nothing any more."""
        self.add(-self.size)

    def __enter__(self) -> "Share":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Guard:
    """ASGI middleware in front of `/v1/`: refuses callers before their bodies are read."""

    def __init__(self, app: ASGIApp, settings: Settings, requests: Places, streams: Places):
        self._app = app
        self._settings = settings
        self._places = {"http": requests, "websocket": streams}
        self._rate = Rate(settings.rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer with a problem."""
        if scope["type"] not in self._places or not scope["path"].startswith(GUARDED):
            await self._app(scope, receive, send)
            return
        try:
            self._check(HTTPConnection(scope), scope["type"] == "websocket")
            with self._places[scope["type"]].place():
                await self._app(scope, receive, send)
        except Problem as problem:
            response = problem.response()
            if scope["type"] == "websocket":
                await WebSocket(scope, receive, send).send_denial_response(response)
            else:
                await response(scope, receive, send)

    def _check(self, call: HTTPConnection, is_stream: bool) -> None:
        if self._settings.token and not hmac.compare_digest(_token(call).encode(), self._settings.token.encode()):
            text = "send the gateway's token as the header Authorization: Bearer TOKEN"
            raise Problem(401, text, {"WWW-Authenticate": "Bearer"})
        if is_stream and not self._may_stream(call):
            raise Problem(403, f"pages of {call.headers['origin'][:100]} may not open streams here")
        wait_s = self._rate.wait_s(_caller(call))
        if wait_s:
            raise busy(f"more than {self._settings.rate:g} requests a second from one caller", wait_s, status=429)

    def _may_stream(self, call: HTTPConnection) -> bool:
        """Return whether no foreign page asks: browsers open WebSockets to any origin, without CORS."""
        origin = call.headers.get("origin")
        return (
            origin is None
            or origin.partition("://")[2] == call.headers.get("host")
            or origin in self._settings.cors
            or "*" in self._settings.cors
        )


def _token(call: HTTPConnection) -> str:
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    protocols = (name.strip() for name in call.headers.get("sec-websocket-protocol", "").split(","))
    return next((name.removeprefix(TOKEN_PROTOCOL) for name in protocols if name.startswith(TOKEN_PROTOCOL)), "")


def _caller(call: HTTPConnection) -> str:
    """Return the caller's address; of IPv6 the network, because one caller has 2^64 addresses."""
    host = call.client.host if call.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else host
