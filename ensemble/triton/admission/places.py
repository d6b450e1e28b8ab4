"""Bookkeeping of the admission gate: requests running, queued or written off. No I/O."""

from collections import deque
from statistics import median
from typing import NamedTuple

from ensemble.triton.admission.overload import Bounds, Overload

_ALIKE_S = 1.0  # tickets given within this time may ask in any order; the queue is first in, first out
_REMEMBERED = 32
_NEARLY_ALONE = 2
_LATE = 4  # times the usual time in work
_LEAST_LATE_S = 0.25


class Asking(NamedTuple):
    """A ticket in the queue: its number, the address for the answer, and the time at which the wait expires."""

    number: int
    asker: str
    until: float


class Patience:
    """A timeout: twice the longest of the last durations, within bounds; `first_s` before the first one."""

    def __init__(self, first_s: float, least_s: float, most_s: float):
        self.seconds = first_s
        self._least_s, self._most_s = least_s, most_s
        self._lately: deque[float] = deque(maxlen=_REMEMBERED)

    @property
    def usual_s(self) -> float | None:
        """The median of the last durations; None before the first one."""
        return median(self._lately) if self._lately else None

    def learn(self, took_s: float) -> None:
        """Add a duration; the oldest of 32 is dropped."""
        self._lately.append(took_s)
        self.seconds = min(max(self._least_s, 2 * max(self._lately)), self._most_s)


class Places:
    """Tickets of the requests inside: those in the queue and those in work. All times are seconds of one clock.

    `Overload` sets how many may be inside and in work. A ticket may get lost: no step learns that a caller hung up
    while the request was between two steps, and a process may die. So a ticket in work is written off after twice the
    longest time of the last ones, and not before a second. If a written-off ticket comes back, the timeout is raised.
    Until then, a ticket that is late in work holds no place but one of the most that may be in work: when the process
    of a step dies, as many tickets as are in work may be lost at the same time.
    A ticket is also written off when it does not ask for its turn while later ones do, or while none asks for as long.
    A paused ticket counts as ended unless it resumes within twice the longest of the last pauses.
    """

    def __init__(self, bounds: Bounds, now: float):
        self._overload = Overload(bounds, now)
        self._most_in_work, self._limit = bounds.in_work, bounds.in_work + bounds.waiting
        self._inside: dict[int, float] = {}  # number -> when the ticket was given, oldest first
        self._asking: dict[int, Asking] = {}  # subset of `_inside`, in the order of asking
        self._working: dict[int, float] = {}  # subset of `_inside`: start of the work, oldest first
        self._given: dict[int, float] = {}  # tickets in work: when they were given
        self._alone: set[int] = set()  # tickets in work that began beside one other at most
        self._overdue: dict[int, float] = {}  # written-off tickets: start of the work
        self._paused: dict[int, float] = {}  # start of the pause; ended tickets stay listed, for they may resume
        # A server's first request may be slow. The watchdog restarts `await_turn` after 20 s without an answer.
        self._stay = Patience(first_s=10.0, least_s=1.0, most_s=15.0)
        self._pause = Patience(first_s=0.5, least_s=0.02, most_s=15.0)
        self._asked = self._returned = now  # when a ticket last asked, and came back from work

    def enter(self, number: int, now: float) -> bool:
        """Add a ticket; return False when the queue is full."""
        if self._is_full(now):
            self.give_up(now)
        if self._is_full(now):
            self._overload.rejected(now)
            return False
        self._inside[number] = now
        self._note_queue(now)
        return True

    def works(self, number: int) -> bool:
        """Return whether a ticket is in work."""
        return number in self._working

    def ask(self, number: int, asker: str, patience_s: float, now: float) -> bool:
        """Queue a ticket for its turn; return False when it was given too long ago."""
        self._asked = now
        given = self._inside.get(number)
        if given is None:  # written off too early, or never given
            given = now
        else:
            self._drop_older_than(given - _ALIKE_S)
        if given + patience_s < now or self._overload.too_old(now - given, now):
            return False
        self._inside[number], self._asking[number] = given, Asking(number, asker, given + patience_s)
        return True

    def next_asking(self, now: float) -> Asking | None:
        """Remove and return the first ticket in the queue; None when the queue is empty or no place is free."""
        if not self._asking or len(self._working) >= self._most_in_work:
            return None
        late_before = now - self._late_s()
        if sum(began > late_before for began in self._working.values()) >= self._overload.in_work(now):
            return None
        return self._asking.pop(next(iter(self._asking)))

    def begin(self, number: int, now: float) -> None:
        """Record that a ticket's work begins."""
        if len(self._working) < _NEARLY_ALONE:
            self._alone.add(number)
        self._working[number], self._given[number] = now, self._inside.get(number, now)
        self._note_queue(now)

    def leave(self, number: int, now: float) -> None:
        """Record that a ticket was returned, from any state. Unknown tickets are ignored."""
        self._inside.pop(number, None)
        self._asking.pop(number, None)
        began = self._working.pop(number, None) or self._overdue.pop(number, None)
        if began is not None:
            self._returned = now
            self._stay.learn(now - began)
            self._overload.answered(now, now - began if number in self._alone else None)
        self._forget(number, now)

    def abandon(self, number: int, now: float) -> None:
        """Record that a ticket comes back because its caller has hung up."""
        began = self._working.pop(number, None) or self._overdue.pop(number, None)
        if began is not None:
            self._returned = now
            self._overload.abandoned(began - self._given.get(number, began))
        self._inside.pop(number, None)
        self._asking.pop(number, None)
        self._forget(number, now)

    def pause(self, number: int, now: float) -> None:
        """Record that a ticket's work may have ended."""
        if number in self._working:
            self._paused[number] = now

    def resume(self, number: int, now: float) -> None:
        """Record that a ticket's work continues. A ticket that lost its place gets one again."""
        paused = self._paused.pop(number, None)
        if paused is not None:
            self._pause.learn(now - paused)
        if number not in self._working:
            self.leave(number, now)  # for an overdue ticket, this raises the timeout
            self._inside[number] = self._working[number] = now

    def next_change(self, now: float) -> float | None:
        """Return the latest time at which a place becomes free; None with an empty queue or with no ticket in work."""
        if not self._asking or not self._working:
            return None
        stays_until, late_s = next(iter(self._working.values())) + self._stay.seconds, self._late_s()
        if len(self._working) < self._most_in_work:
            late_at = [began + late_s for began in self._working.values() if began + late_s > now]
            stays_until = min([stays_until, *late_at[:1]])
        pauses = [since for number, since in self._paused.items() if number in self._working]
        return min(stays_until, pauses[0] + self._pause.seconds) if pauses else stays_until

    def give_up(self, now: float) -> None:
        """Write off the tickets that seem to be lost."""
        oldest_allowed = now - self._stay.seconds
        for number in [number for number, began in self._working.items() if began < oldest_allowed]:
            self._give_up_work(number, now)
        for number, paused in self._paused.items():
            if paused + self._pause.seconds < now:
                self.leave(number, paused)
        for remembered in (self._overdue, self._paused):
            for number in list(remembered)[: -self._limit]:
                del remembered[number]
        if not self._asking and self._asked < oldest_allowed:
            self._drop_older_than(oldest_allowed)
        self._note_queue(now)

    def _late_s(self) -> float:
        """Return the time in work after which a ticket is late: another one may begin beside it."""
        usual_s = self._stay.usual_s
        return float("inf") if usual_s is None else max(_LATE * usual_s, _LEAST_LATE_S)

    def _is_full(self, now: float) -> bool:
        return len(self._inside) >= self._overload.inside(now)

    def _note_queue(self, now: float) -> None:
        self._overload.queue_is(len(self._inside) - len(self._working), now)

    def _forget(self, number: int, now: float) -> None:
        self._given.pop(number, None)
        self._alone.discard(number)
        self._note_queue(now)

    def _give_up_work(self, number: int, now: float) -> None:
        began = self._overdue[number] = self._working.pop(number)
        self._inside.pop(number, None)
        self._overload.abandoned(began - self._given.pop(number, began))
        self._alone.discard(number)
        if began >= self._returned:  # no ticket came back since: the pipeline stands still, nothing is lost
            self._stay.learn(now - began)

    def _drop_older_than(self, oldest_allowed: float) -> None:
        """Drop the tickets of that age that are neither in work nor asking."""
        for number, given in list(self._inside.items()):
            if given < oldest_allowed and number not in self._working and number not in self._asking:
                del self._inside[number]
