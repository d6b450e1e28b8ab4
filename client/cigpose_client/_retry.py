"""One call to the server with its deadline and retries. It does no I/O, so that both clients share the rules.

A `Call` is a generator. It yields the next step (`Send` or `Sleep`), receives the answer or the error of that step, and
returns the result. A client is a loop of a few lines around `advance`.
"""

import random
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias

from tritonclient.utils import InferenceServerException

from cigpose_client._errors import Failures, PoseClientError, translate

_QUEUE_SHARE = 0.5  # of the remaining time, which a request may wait in the server's queue


@dataclass(frozen=True)
class Retry:
    """Pauses between the tries of a call. Only transient errors are retried, and only within the call's timeout.

    The pause doubles with each try. It is drawn from the upper half of its value, so that the clients of a restarted
    server do not all return at the same moment.

    Attributes:
        first_pause_s: longest pause before the second try, in seconds; with less time left, a call is not retried.
        longest_pause_s: limit of each pause, in seconds.
    """

    first_pause_s: float = 0.1
    longest_pause_s: float = 2.0

    def pause_s(self, tries: int, chance: float) -> float:
        """Return the seconds to wait after `tries` failures; `chance` (0 to 1) is the jitter."""
        longest = min(self.first_pause_s * 2.0 ** min(tries - 1, 60), self.longest_pause_s)
        return longest * (0.5 + 0.5 * chance)


@dataclass(frozen=True)
class Limit:
    """The time that a call may take, retries included.

    Attributes:
        timeout_s: seconds from start to deadline.
        start_s: start of the call on the clock `time.monotonic`.
    """

    timeout_s: float
    start_s: float = field(default_factory=time.monotonic)

    @property
    def spent_s(self) -> float:
        """Seconds since the call began."""
        return time.monotonic() - self.start_s

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self.timeout_s - self.spent_s


@dataclass(frozen=True)
class Send:
    """Call `method` of the transport with `arguments` and this time limit in seconds."""

    method: str
    arguments: dict[str, Any]
    timeout_s: float


@dataclass(frozen=True)
class Sleep:
    """Wait, because of `error`, before the next try."""

    seconds: float
    error: PoseClientError


@dataclass(frozen=True)
class Done:
    """The call is over, with this result."""

    result: Any


Call: TypeAlias = Generator[Send | Sleep, Any, Any]


def call(method: str, arguments: dict[str, Any], *, limit: Limit, retry: Retry | None, url: str) -> Call:
    """Send one request, and retry it after transient errors until the deadline.

    Args:
        method: name of the transport's method.
        arguments: its keyword arguments.
        limit: deadline of all tries and pauses.
        retry: None for a single try.
        url: the server's address, for error messages.

    Raises:
        PoseClientError: the last failure, with tritonclient's error as `__cause__`.
    """
    failures = Failures()
    for tries in count(1):
        left_s = max(limit.left_s, 0.001)
        # the server rejects a request that has queued for longer: its answer would miss the deadline
        queue = {"timeout": int(_QUEUE_SHARE * left_s * 1e6)} if method == "infer" else {}  # microseconds
        try:
            return (yield Send(method, arguments | queue, left_s))
        except InferenceServerException as failure:
            cause = failures.add(failure)
            error = translate(cause, url, limit.timeout_s)
            left_s = limit.left_s
            if retry is None or not error.transient or left_s <= retry.first_pause_s:
                raise translate(cause, url, limit.timeout_s, limit.spent_s if tries > 1 else 0.0) from cause
        # near the deadline the pause is cut, so that another try fits in
        yield Sleep(min(retry.pause_s(tries, random.random()), left_s / 2), error)


def advance(steps: Call, outcome: Any = None) -> Send | Sleep | Done:
    """Pass the outcome of the last step (an answer, or tritonclient's error) to the call, and return its next step."""
    try:
        if isinstance(outcome, InferenceServerException):
            return steps.throw(outcome)
        return steps.send(outcome)
    except StopIteration as stop:
        return Done(stop.value)
