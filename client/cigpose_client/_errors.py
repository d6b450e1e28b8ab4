"""The exceptions, as one tree, and the one function that translates tritonclient's errors to them.

PoseClientError
├── ServerUnavailable   no server answers at that address, or the connection broke; a later try may succeed
├── Overloaded          the server's queue is full; a later try may succeed
├── ModelNotReady       the server answers, but does not serve that model, or not yet
├── DeadlineExceeded    no answer within the timeout
├── RequestRejected     the request is invalid (no picture, option out of range, ...); the message names the mistake
└── ServerFailed        every other error of the server
"""

import re
from dataclasses import dataclass

from tritonclient.utils import InferenceServerException


class PoseClientError(Exception):
    """Base of every error that a call to the server can raise. Its text is the problem, then the remedy.

    Attributes:
        problem: what happened.
        remedy: what to do about it, in terms of the client's parameters; empty when no remedy is known.
        status: name of the gRPC status, such as `INVALID_ARGUMENT`; empty for an error of the client itself.
        transient: whether the same call may succeed later.
    """

    def __init__(self, problem: str, *, remedy: str = "", status: str = "", transient: bool = False):
        super().__init__(f"{problem}; {remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy
        self.status = status
        self.transient = transient


class ServerUnavailable(PoseClientError):
    """No server answers at that address, or the connection broke."""


class Overloaded(PoseClientError):
    """The server's queue is full."""


class ModelNotReady(PoseClientError):
    """The server answers, but does not serve that model, or not yet."""


class DeadlineExceeded(PoseClientError):
    """No answer arrived within the timeout."""


class RequestRejected(PoseClientError):
    """The server rejected the request as invalid; the message names the mistake."""


class ServerFailed(PoseClientError):
    """The server reported a failure of its own."""


PICTURE_FAILURES = (PoseClientError, OSError, ValueError)
"""Errors of a single picture, after which the next one may succeed."""

_BY_STATUS: dict[str, type[PoseClientError]] = {
    "CANCELLED": ServerUnavailable,  # from a server that is shutting down, or `Channel closed!`
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "INVALID_ARGUMENT": RequestRejected,
    "NOT_FOUND": ModelNotReady,
    "UNAVAILABLE": ServerUnavailable,
}
# Triton's texts for errors that share one status: (status, text, kind, transient).
_BY_SENTENCE = (
    ("UNAVAILABLE", "exceeds maximum queue size", Overloaded, True),
    ("UNAVAILABLE", "request timeout expired", Overloaded, True),  # in the server's queue
    ("UNAVAILABLE", "protocol is restricted", RequestRejected, False),
    ("UNAVAILABLE", "is not at ready state", ModelNotReady, True),
    ("UNAVAILABLE", "is not found", ModelNotReady, False),
    ("", "no available versions", ModelNotReady, True),  # while the server stops or reloads
)
_REMEDIES: dict[type[PoseClientError], str] = {
    ServerUnavailable: "is the server running, and is url its gRPC address?",
    Overloaded: "raise timeout_s, or lower in_flight",
    ModelNotReady: "info() lists what the server serves; choose with model",
    DeadlineExceeded: "raise timeout_s, or lower in_flight",
}

_NETWORK_ERROR = "onnx runtime error"  # of Triton's own backend; node names and shapes follow
_REFUSED = "connection refused"
_ADDRESS = re.compile(r"last error: \w+: (\S+): ")  # in gRPC's message: the address that failed last


@dataclass(frozen=True)
class _Break:
    """One cause of a broken connection.

    Attributes:
        texts: gRPC's message, in lower case, holds all of these.
        problem: sentence about the cause, without the address.
        remedy: as in `PoseClientError`.
        transient: False when a retry cannot help.
    """

    texts: tuple[str, ...]
    problem: str
    remedy: str = _REMEDIES[ServerUnavailable]
    transient: bool = True


CLOSED = InferenceServerException("Channel closed!", status="StatusCode.CANCELLED")
"""The error of a closed client's call, in gRPC's words for one that is closed during the call."""

_BREAKS = (
    _Break(("channel closed",), "the client was closed during the call", "close it after its calls", transient=False),
    _Break((_REFUSED,), "no server listens there (connection refused)"),
    _Break(("errors resolving",), "the host name cannot be resolved", "check the host in url"),
    _Break(("dns resolution failed",), "the host name cannot be resolved", "check the host in url"),  # older gRPC
    _Break(("wrong_version_number",), "the server does not speak TLS", "leave out tls", transient=False),
    _Break(
        ("certificate_verify_failed",),
        "the server's certificate is not trusted",
        "give the certificates to trust as root_certificates",
        transient=False,
    ),
    _Break(
        ("settings frame", "got frame type"),
        "this port does not speak gRPC",
        "give Triton's gRPC port in url, 8001 by default",
        transient=False,
    ),
    _Break(  # transient, because the published port of a starting container does the same
        ("last error", "socket closed"),
        "the server closes the connection immediately",
        "if it expects TLS, give tls=Tls(), for mutual TLS with private_key and certificate_chain",
    ),
)


def translate(
    error: InferenceServerException, url: str = "", timeout_s: float = 0.0, tried_s: float = 0.0
) -> PoseClientError:
    """Translate an error of tritonclient to one of this library.

    Args:
        error: raised by tritonclient.
        url: the server's address, for messages about the connection.
        timeout_s: the call's timeout, in seconds.
        tried_s: seconds of retries; 0 after a single try.
    """
    status = (error.status() or "").removeprefix("StatusCode.")
    problem = error.message() or "the server gave no reason"
    kind, transient = _sort(status, problem.lower())
    if kind is ServerFailed and _NETWORK_ERROR in problem:
        problem = "internal error"  # as the other backend words it; `__cause__` has the details
    remedy = _REMEDIES.get(kind, "")
    if kind is ServerUnavailable:
        broken = _break(problem)
        problem, remedy, transient = f"no answer from {url}: {broken.problem}", broken.remedy, broken.transient
    if kind is DeadlineExceeded:
        problem = f"no answer from {url} within {timeout_s:g} s"
    if transient and tried_s:
        problem += f", tried for {tried_s:.3g} s"
    return kind(problem, remedy=remedy, status=status, transient=transient)


class Failures:
    """The latest failure of each address behind one name: `localhost` is often 127.0.0.1 and ::1, one of them unused.

    gRPC reports one address at a time. A refused connection says less than the failure of another address.
    """

    def __init__(self) -> None:
        self._latest: dict[str, InferenceServerException] = {}

    def add(self, error: InferenceServerException) -> InferenceServerException:
        """Return `error`, or the latest failure of another address if `error` is a refused connection."""
        message = str(error.message())
        if address := _ADDRESS.search(message):
            self._latest[address[1]] = error
        if _REFUSED not in message.lower():
            return error
        others = (other for other in self._latest.values() if _REFUSED not in str(other.message()).lower())
        return next(others, error)


def _sort(status: str, message: str) -> tuple[type[PoseClientError], bool]:
    for of_status, sentence, kind, transient in _BY_SENTENCE:
        if sentence in message and of_status in ("", status):
            return kind, transient
    return _BY_STATUS.get(status, ServerFailed), status in ("UNAVAILABLE", "CANCELLED")


def _break(message: str) -> _Break:
    known = (broken for broken in _BREAKS if all(text in message.lower() for text in broken.texts))
    return next(known, _Break((), message))
