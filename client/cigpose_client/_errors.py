"""What can go wrong, as one tree, and the one function that sorts tritonclient's errors into it.

PoseClientError
├── ServerUnavailable   nobody answers at that address, or the connection broke; a later try may succeed
├── Overloaded          the server's queue is full; a later try may succeed
├── ModelNotReady       the server answers, but does not (or not now) serve that model
├── DeadlineExceeded    no answer within the time given
├── RequestRejected     the request is wrong (no picture, option out of range, ...); the message says what
└── ServerFailed        everything else that the server reports
"""

import re
from dataclasses import dataclass

from tritonclient.utils import InferenceServerException


class PoseClientError(Exception):
    """Base of every error that a call to the server can raise. Its text is the problem, then the remedy.

    Attributes:
        problem: what happened.
        remedy: what to do about it, in terms of the client's parameters; empty when that is not known.
        status: name of the gRPC status, such as `INVALID_ARGUMENT`; empty when the error arose in the client.
        transient: whether the same call may succeed a little later.
    """

    def __init__(self, problem: str, *, remedy: str = "", status: str = "", transient: bool = False):
        super().__init__(f"{problem}; {remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy
        self.status = status
        self.transient = transient


class ServerUnavailable(PoseClientError):
    """Nobody answers at that address, or the connection broke."""


class Overloaded(PoseClientError):
    """The server's queue is full."""


class ModelNotReady(PoseClientError):
    """The server answers, but does not, or not at the moment, serve that model."""


class DeadlineExceeded(PoseClientError):
    """No answer came within the time given."""


class RequestRejected(PoseClientError):
    """The server refused the request as wrong; the message says what is wrong with it."""


class ServerFailed(PoseClientError):
    """The server reported a failure of its own."""


PICTURE_FAILURES = (PoseClientError, OSError, ValueError)
"""What may be wrong with one picture while the next one is fine."""

_BY_STATUS: dict[str, type[PoseClientError]] = {
    "CANCELLED": ServerUnavailable,  # by a server that goes away: who cancels here gets no error of ours
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "INVALID_ARGUMENT": RequestRejected,
    "NOT_FOUND": ModelNotReady,
    "UNAVAILABLE": ServerUnavailable,
}
# Sentences by which Triton tells apart what shares one status: (status, text, kind, transient).
_BY_SENTENCE = (
    ("UNAVAILABLE", "exceeds maximum queue size", Overloaded, True),
    ("UNAVAILABLE", "request timeout expired", Overloaded, True),  # it has waited in the queue for too long
    ("UNAVAILABLE", "protocol is restricted", RequestRejected, False),
    ("UNAVAILABLE", "is not at ready state", ModelNotReady, True),
    ("UNAVAILABLE", "is not found", ModelNotReady, False),
    ("", "no available versions", ModelNotReady, True),  # a server that is stopping or reloading
)
_REMEDIES: dict[type[PoseClientError], str] = {
    ServerUnavailable: "is the server running, and is url its gRPC address?",
    Overloaded: "raise timeout_s, or lower in_flight",
    ModelNotReady: "info() lists what the server serves; choose with model",
    DeadlineExceeded: "raise timeout_s, or lower in_flight",
}


_REFUSED = "connection refused"
_ADDRESS = re.compile(r"last error: \w+: (\S+): ")  # of the server to which there is no connection


@dataclass(frozen=True)
class _Break:
    """Why there is no connection.

    Attributes:
        texts: gRPC's message, in lower case, holds all of these.
        problem: the sentence for it, without the address.
        remedy: as in `PoseClientError`.
        transient: False when waiting cannot help.
    """

    texts: tuple[str, ...]
    problem: str
    remedy: str = _REMEDIES[ServerUnavailable]
    transient: bool = True


_BREAKS = (
    _Break((_REFUSED,), "nobody listens there (connection refused)"),
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
    _Break(  # transient, because the published port of a container that starts does the same
        ("last error", "socket closed"),
        "the server closes the connection at once",
        "if it expects TLS, give tls=Tls(), for mutual TLS with private_key and certificate_chain",
    ),
)


def translate(
    error: InferenceServerException, url: str = "", timeout_s: float = 0.0, tried_s: float = 0.0
) -> PoseClientError:
    """Return the error of this library that says the same as tritonclient's `error`.

    Args:
        error: what tritonclient raised.
        url: the server's address, named in messages that are about the connection.
        timeout_s: the time that the call was given.
        tried_s: the time for which it was sent again; 0 after a single try.
    """
    status = (error.status() or "").removeprefix("StatusCode.")
    problem = error.message() or "the server gave no reason"
    kind, transient = _sort(status, problem.lower())
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

    gRPC reports one address at a time. That one refuses connections says less than how another one fails.
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
