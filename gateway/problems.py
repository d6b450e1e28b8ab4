"""Failures as problem details (RFC 9457): what a caller reads, and the status that its program checks."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from cigpose_client import (
    DeadlineExceeded,
    ModelNotReady,
    Overloaded,
    PoseClientError,
    RequestRejected,
    ServerFailed,
    ServerUnavailable,
)
from starlette.responses import Response

GONE = 499
"""The status, in metrics, of a caller who has hung up; the number is nginx's."""

_OVERLOAD_PAUSE_S = 1  # the server's queue holds at most two seconds of work
_RESTART_PAUSE_S = 5

_TITLES = {
    400: "Malformed request",
    401: "Token needed",
    403: "Foreign origin",
    404: "Not found",
    405: "Method not allowed",
    408: "The body took too long",
    413: "Too large",
    415: "Unsupported format",
    422: "Rejected",
    429: "Too many requests",
    500: "Internal error",
    502: "The pose server failed",
    503: "Not available now",
    504: "Deadline exceeded",
}
# Texts of the contract whose status is more specific than 422.
_OF_TEXT = (
    (re.compile(r"\bimage: .* are over the limit of "), 413),
    (re.compile(r"\bimage: .* are no JPEG, PNG, WebP or BMP"), 415),
)


class Problem(Exception):
    """A failure that the caller is to read.

    Attributes:
        status: HTTP status.
        detail: what happened and, where one is known, the remedy.
        headers: additional headers of the response, such as `Retry-After`.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None):
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})

    def to_dict(self) -> dict[str, Any]:
        """Return the members of RFC 9457, section 3.1; the type is `about:blank`, so the title follows the status."""
        return {"type": "about:blank", "title": _TITLES[self.status], "status": self.status, "detail": self.detail}

    def response(self) -> Response:
        """Return the response."""
        content = json.dumps(self.to_dict(), separators=(",", ":"))
        return Response(content, self.status, self.headers, media_type="application/problem+json")


def busy(detail: str, pause_s: float = _OVERLOAD_PAUSE_S, status: int = 503) -> Problem:
    """Return the problem of a request that may succeed after `pause_s` seconds."""
    return Problem(status, detail, {"Retry-After": str(max(1, math.ceil(pause_s)))})


def problem_of(error: PoseClientError) -> Problem:
    """Return the problem that corresponds to an error of the client."""
    text = error.problem
    if isinstance(error, RequestRejected):
        if error.status != "INVALID_ARGUMENT":  # a closed API of the server, which is no fault of the caller
            return Problem(502, text)
        return Problem(next((status for pattern, status in _OF_TEXT if pattern.search(text)), 422), text)
    if isinstance(error, Overloaded):
        return busy(text)
    if isinstance(error, DeadlineExceeded):
        return Problem(504, f"{text}; raise timeout_s or send fewer requests at once")
    if isinstance(error, ServerUnavailable) or (isinstance(error, ModelNotReady) and error.transient):
        return busy(text, _RESTART_PAUSE_S)
    if isinstance(error, ModelNotReady):
        return Problem(404, f"{text}; GET /v1/models lists the networks")
    assert isinstance(error, ServerFailed), error
    return Problem(502, text)


def query_problem(error: Mapping[str, Any]) -> Problem:
    """Return the problem of a wrong query parameter, from the first of pydantic's errors."""
    name, wrong = str(error["loc"][-1])[:50], str(error["input"])[:50]
    if error["type"] == "extra_forbidden":
        return Problem(400, f"unknown query parameter {name!r}; /docs and docs/gateway.md list the known ones")
    return Problem(400, f"query parameter {name} is {wrong!r}: {error['msg'][:1].lower()}{error['msg'][1:]}")
