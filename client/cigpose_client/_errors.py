"""What can go wrong, as one tree, and the one function that sorts tritonclient's errors into it.

PoseClientError
├── ServerUnavailable   nobody answers at that address, or the connection broke; a later try may succeed
├── Overloaded          the server's queue is full; a later try may succeed
├── ModelNotReady       the server answers, but does not (or not now) serve that model
├── DeadlineExceeded    no answer within the time given
├── RequestRejected     the request is wrong (no picture, option out of range, ...); the message says what
└── ServerFailed        everything else that the server reports
"""

from tritonclient.utils import InferenceServerException


class PoseClientError(Exception):
    """Base of every error that a call to the server can raise.

    Attributes:
        status: name of the gRPC status, such as `INVALID_ARGUMENT`; empty when the error arose in the client.
        transient: whether the same call may succeed a little later.
    """

    def __init__(self, message: str, *, status: str = "", transient: bool = False):
        super().__init__(message)
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


def translate(error: InferenceServerException, url: str = "") -> PoseClientError:
    """Return the error of this library that says the same as tritonclient's `error`.

    Args:
        error: what tritonclient raised.
        url: the server's address, named in messages that are about the connection.
    """
    status = (error.status() or "").removeprefix("StatusCode.")
    message = error.message() or "the server gave no reason"
    kind, transient = _sort(status, message.lower())
    if kind is ServerUnavailable and url:
        message = f"no answer from {url}: {message}"
    if kind is DeadlineExceeded and url:
        message = f"no answer from {url} in time: {message}"
    return kind(message, status=status, transient=transient)


def _sort(status: str, message: str) -> tuple[type[PoseClientError], bool]:
    for of_status, sentence, kind, transient in _BY_SENTENCE:
        if sentence in message and of_status in ("", status):
            return kind, transient
    return _BY_STATUS.get(status, ServerFailed), status in ("UNAVAILABLE", "CANCELLED")
