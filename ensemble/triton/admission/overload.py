"""Bounds on the queue and on the requests in work, computed from what the gate observes. No I/O.

The state machine, with the bounds of `Bounds`:

1. CALM: up to `waiting` requests queue beside `in_work`. Nothing is rejected because of its waiting time.
2. CALM becomes OVERLOADED when requests have been rejected for a full queue for a second, or when callers hang up: when
   three requests that got their turn after waiting for a quarter of a second turn out to be abandoned, with the queue
   never empty between them.
3. OVERLOADED: the queue is bounded by its delay instead. A request is rejected when those before it, queued and in
   work, will take longer than `delay` at the pace of the last answers. As many as Little's law asks for, and one more,
   are never rejected. A request that has waited for half as long again is rejected at its turn: its caller will
   probably hang up before the answer, and the requests behind it still have time.
4. `delay` begins at two seconds, so a server recovers within that time when the load ends.
5. Each abandoned request multiplies `delay` by 0.8, each answer by 1.01 (up to two seconds). So about one turn in
   twenty goes to an abandoned request. The callers' deadlines need not be known.
6. OVERLOADED becomes CALM when the queue has been empty for a second. A queue of less than a quarter of a second does
   not count: with light traffic, every request passes through an otherwise empty queue.
7. In both states, the number in work follows Little's law: one and a half times the pace times the time that a
   request takes when it is nearly alone, within bounds. That keeps every instance busy. More would only share the
   processors. But a tenth of a second of work is always allowed: fast networks wait for the hops between the steps.
8. The pace is that of the last 32 answers, counted only while requests queue. The number in work keeps the last one.

The order is first in, first out throughout.
"""

from collections import deque
from dataclasses import dataclass
from statistics import median

_REMEMBERED = 32
_KNOWN = 4  # answers before the pace counts as known
_SLACK = 1.5  # times the number that Little's law asks for, so that a finished one is replaced without a gap
_SHORT_S = 0.1
_DELAY_S = 2.0
_LEAST_DELAY_S = 0.05
_ABANDONED, _ANSWERED = 0.8, 1.01
_PERSISTS_S = 1.0
_WAITED_S = 0.25
_TOO_OLD = 1.5  # times the delay, and the time of one answer: the pace is an estimate
_HANG_UPS = 3


@dataclass(frozen=True)
class Bounds:
    """Bounds on the requests inside a pipeline.

    Attributes:
        least_in_work: lower bound of the requests in work: enough to keep every instance of a slow network busy.
        in_work: most requests in work.
        waiting: most requests in the queue.
    """

    least_in_work: int
    in_work: int
    waiting: int


class Overload:
    """The state machine above. All times are seconds of one clock."""

    def __init__(self, bounds: Bounds, now: float):
        self._bounds = bounds
        self._answers: deque[float] = deque(maxlen=_REMEMBERED)
        self._alone_s: deque[float] = deque(maxlen=_REMEMBERED)
        self._last_pace = 0.0  # when requests queued last; 0 before it is known
        self._queued_since: float | None = None  # the queue has not been empty since
        self._empty_since = now  # but for short queues
        self._rejecting_since: float | None = None  # the queue has been full since
        self._hang_ups = 0  # while the queue was not empty
        self._overloaded = False
        self._delay_s = _DELAY_S

    def in_work(self, now: float) -> int:
        """Return how many requests may be in work."""
        pace = self._pace(now) or self._last_pace
        needed = round(max(_SLACK * self._busy(pace), _SHORT_S * pace))
        return min(max(needed, self._bounds.least_in_work), self._bounds.in_work)

    def inside(self, now: float) -> int:
        """Return how many requests may be in the queue and in work together."""
        pace = self._pace(now) if self._overloaded else None
        most = self._bounds.in_work + self._bounds.waiting
        busy = round(self._busy(pace)) if self._alone_s else self._bounds.least_in_work
        return most if pace is None else min(max(round(pace * self._delay_s), busy + 1), most)

    def too_old(self, waited_s: float, now: float) -> bool:
        """Return whether a request has waited for so long that its turn would be wasted."""
        pace = self._pace(now)
        return self._overloaded and waited_s > _TOO_OLD * self._delay_s + (1 / pace if pace else 0)

    def queue_is(self, length: int, now: float) -> None:
        """Note how many requests queue at the moment."""
        queued_s = 0.0 if self._queued_since is None else now - self._queued_since
        if self._overloaded and queued_s < _WAITED_S and now - self._empty_since > _PERSISTS_S:
            self._overloaded, self._delay_s = False, _DELAY_S
        if length and self._queued_since is None:
            self._queued_since = now
            self._answers.clear()
        if not length:
            self._last_pace = self._pace(now) or self._last_pace
            self._queued_since, self._rejecting_since, self._hang_ups = None, None, 0
            if queued_s >= _WAITED_S:
                self._empty_since = now

    def rejected(self, now: float) -> None:
        """Record that a request was rejected because the queue was full."""
        if self._rejecting_since is None:
            self._rejecting_since = now
        self._overloaded |= now - self._rejecting_since >= _PERSISTS_S

    def answered(self, now: float, alone_s: float | None) -> None:
        """Record that a request came back from work, and how long it took if it was nearly alone."""
        self._answers.append(now)
        if alone_s is not None:
            self._alone_s.append(alone_s)
        self._delay_s = min(self._delay_s * _ANSWERED, _DELAY_S)

    def abandoned(self, waited_s: float) -> None:
        """Record that a request got its turn after its caller had hung up."""
        if self._queued_since is None or waited_s < _WAITED_S:
            return
        self._hang_ups += 1
        self._overloaded |= self._hang_ups >= _HANG_UPS
        if self._overloaded:
            self._delay_s = max(min(self._delay_s, waited_s) * _ABANDONED, _LEAST_DELAY_S)

    def _busy(self, pace: float | None) -> float:
        """Return how many requests in work have this pace, by Little's law; 0 before it is known."""
        return pace * median(self._alone_s) if pace and self._alone_s else 0.0

    def _pace(self, now: float) -> float | None:
        """Return answers per second while requests queue; None before it is known."""
        if self._queued_since is None or len(self._answers) < _KNOWN:
            return None
        first = self._answers[0] if len(self._answers) == _REMEMBERED else self._queued_since
        return len(self._answers) / max(now - first, 1e-6)
