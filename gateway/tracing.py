"""Passes a caller's trace context (W3C `traceparent`) on to the pose server: one trace from HTTP to every stage."""

import re
from collections.abc import Mapping
from contextvars import ContextVar

from starlette.types import ASGIApp, Receive, Scope, Send

_FORM = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_CONTEXT: ContextVar[str] = ContextVar("traceparent", default="")


def headers() -> Mapping[str, str]:
    """Return the headers of the pose server's call for the request at hand; none without a trace context."""
    context = _CONTEXT.get()
    return {"traceparent": context} if context else {}


class Traced:
    """ASGI middleware that reads the trace context of requests and streams. A malformed one is ignored."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on within its trace context."""
        stated = dict(scope.get("headers", ())).get(b"traceparent", b"").decode("latin-1")
        token = _CONTEXT.set(stated if _FORM.fullmatch(stated) else "")
        try:
            await self._app(scope, receive, send)
        finally:
            _CONTEXT.reset(token)
