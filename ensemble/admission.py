"""How many pictures may be in the pipeline, and how many of them in work: a gate at its beginning, tickets to leave by.

Triton 2.51 bounds the queue of a step, not an ensemble. Bounded at the slowest step alone, an overloaded server would
decode, and search for people, in pictures that it refuses afterwards. And beside a bounded queue, Triton's scheduler
may sleep for half a second (`docs/decisions/0022-gate.md`). So the first step counts: whom it lets in waits in the
queue of the second, which has no limit of its own and needs none, and who is too many is refused.

A ticket goes through the steps as a tensor. The second step asks the gate for the picture's turn, and the step that
ends a request hands the ticket back. Triton tells no step whether it is the last one, as it is when boxes alone are
wanted: such a step leaves the ticket with the gate, and the next one takes it up.

They talk by datagrams to a socket in Linux's abstract namespace, which needs no file and vanishes with its process.
Everybody on the machine may send to it, so a message carries the gate's key, and tickets cannot be guessed.
"""

import contextlib
import hashlib
import secrets
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FULL, EXPIRED = "full", "expired"

_FIRST_PATIENCE_S = 10.0  # while nobody has come back yet: the first request of a server may be slow
_LEAST_PATIENCE_S, _MOST_PATIENCE_S = 1.0, 15.0  # the watchdog takes `await_turn` for hung when it is silent for 20 s
_FIRST_PAUSE_S, _LEAST_PAUSE_S = 0.5, 0.02
_REMEMBERED = 32
_MESSAGE = struct.Struct("<QcQd")  # the gate's key, what is said, the ticket, how long it may have waited
_ASK, _LEAVE, _PAUSE, _RESUME = b"?", b"-", b"~", b"+"
_GO, _TOO_LATE = b"go", b"too late"


class TurnedAway(RuntimeError):
    """There is no place, or none in time; `reason` is `FULL` or `EXPIRED`, the text is for the caller."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


class Gate:
    """Lets `places` pictures work at once, and as many as `waiting` wait for their turn.

    A ticket may get lost: Triton tells no step when a caller hangs up while the request is between two steps, and a
    process may die. So one in work that stays out for more than twice as long as any of those that came back lately,
    and a second at least, is not waited for; where it comes back after all, the next ones have more time. Neither is
    one waited for that does not ask for its turn while later ones do, or while nobody does for as long. A ticket that
    is left with the gate has ended its work, unless it is taken up within twice as long as others were lately.
    """

    def __init__(self, places: int, waiting: int, clock: Callable[[], float] = time.monotonic):
        self._places, self._limit, self._clock = places, places + waiting, clock
        self._key = secrets.randbits(62)
        self._inside: dict[int, float] = {}  # ticket -> when it was given, oldest first
        self._asking: dict[int, tuple[str, float]] = {}  # of these: by whom, and when its patience ends
        self._working: dict[int, float] = {}  # of these: since when, oldest first
        self._overdue: dict[int, float] = {}  # no longer of these: since when they worked
        self._paused: dict[int, float] = {}  # which have perhaps ended, since when; also some that no longer work
        self._stays: deque[float] = deque(maxlen=_REMEMBERED)  # how long the last ones worked
        self._pauses: deque[float] = deque(maxlen=_REMEMBERED)  # how long the last ones that went on had paused
        self._asked = self._returned = clock()  # when somebody last asked or got a turn, and came back from work
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(_address(self._key))
        threading.Thread(target=self._listen, daemon=True).start()

    def enter(self) -> NDArray[np.int64]:
        """Return a ticket: (2,) int64, the gate's key and a number that nobody else knows.

        Raises:
            TurnedAway: as many are inside as may be.
        """
        with self._lock:
            now = self._clock()
            if len(self._inside) >= self._limit:
                self._forget(now)
            if len(self._inside) >= self._limit:
                waiting = self._limit - self._places
                raise TurnedAway(FULL, f"Exceeds maximum queue size of {waiting} pictures; try again later")
            number = secrets.randbits(62)
            self._inside[number] = now
            return np.array([self._key, number], np.int64)

    def _listen(self) -> None:
        while True:
            with self._lock:
                now = self._clock()
                self._forget(now)
                self._let_work()
                wait_s = max(0.01, self._next_place() - now) if self._asking else None
            self._socket.settimeout(wait_s)
            with contextlib.suppress(TimeoutError, struct.error):
                message, sender = self._socket.recvfrom(_MESSAGE.size)
                self._take(message, sender)

    def _next_place(self) -> float:
        """Return when the first of those in work will be given up."""
        pauses = [since for number, since in self._paused.items() if number in self._working]
        stays_until = next(iter(self._working.values())) + self._patience_s()
        return min(stays_until, pauses[0] + self._pause_s()) if pauses else stays_until

    def _take(self, message: bytes, sender: str | None) -> None:
        key, said, number, patience_s = _MESSAGE.unpack(message)
        if key != self._key:
            return
        with self._lock:
            if said == _LEAVE:
                self._end(number, self._clock())
            elif said == _PAUSE and number in self._working:
                self._paused[number] = self._clock()
            elif said == _RESUME:
                self._resume(number, self._clock())
            elif said == _ASK and sender:
                self._take_question(number, sender, patience_s)

    def _end(self, number: int, now: float) -> None:
        for tickets in (self._inside, self._asking, self._paused):
            tickets.pop(number, None)
        began = self._working.pop(number, None) or self._overdue.pop(number, None)
        if began is not None:
            self._returned = now
            self._stays.append(now - began)

    def _resume(self, number: int, now: float) -> None:
        paused = self._paused.pop(number, None)
        if paused is not None:
            self._pauses.append(now - paused)
        if number not in self._working:
            self._end(number, now)  # of an overdue one, that teaches
            self._inside[number] = self._working[number] = now

    def _take_question(self, number: int, sender: str, patience_s: float) -> None:
        now = self._clock()
        if number in self._working:  # the answer and the next question crossed
            self._answer(sender, _GO)
            return
        self._asked = now
        if number in self._inside:  # the queue is first in, first out
            first = self._inside[number] - _LEAST_PATIENCE_S
            self._drop(lambda given: given < first)
        given = self._inside.get(number, now)
        if given + patience_s < now:
            self._answer(sender, _TOO_LATE)
        else:
            self._inside[number], self._asking[number] = given, (sender, given + patience_s)

    def _let_work(self) -> None:
        while self._asking and len(self._working) < self._places:
            number = next(iter(self._asking))
            sender, until = self._asking.pop(number)
            now = self._clock()
            if until < now:
                self._answer(sender, _TOO_LATE)
            elif self._answer(sender, _GO):
                self._asked = self._working[number] = now

    def _answer(self, sender: str, answer: bytes) -> bool:
        try:
            self._socket.sendto(answer, socket.MSG_DONTWAIT, sender)
        except OSError:  # it has gone
            return False
        return True

    def _forget(self, now: float) -> None:
        oldest_allowed = now - self._patience_s()
        for number in [number for number, began in self._working.items() if began < oldest_allowed]:
            began = self._overdue[number] = self._working.pop(number)
            self._inside.pop(number, None)
            if began >= self._returned:  # nor has anybody else come back since: not lost, but everything stands still
                self._stays.append(now - began)
        ended = now - self._pause_s()
        for number, paused in list(self._paused.items()):
            if paused < ended and number in self._working:
                self._end(number, paused)
                self._paused[number] = paused  # it may go on after all
        for given_up in (self._overdue, self._paused):
            for number in list(given_up)[: -self._limit]:
                del given_up[number]
        if not self._asking and self._asked < oldest_allowed:
            self._drop(lambda given: given < oldest_allowed)

    def _drop(self, is_old: Callable[[float], bool]) -> None:
        """Do not wait for tickets of a certain age that neither work nor ask."""
        idle = [number for number, given in self._inside.items() if is_old(given)]
        for number in idle:
            if number not in self._working and number not in self._asking:
                del self._inside[number]

    def _patience_s(self) -> float:
        learned_s = 2 * max(self._stays) if self._stays else _FIRST_PATIENCE_S
        return min(max(_LEAST_PATIENCE_S, learned_s), _MOST_PATIENCE_S)

    def _pause_s(self) -> float:
        learned_s = 2 * max(self._pauses) if self._pauses else _FIRST_PAUSE_S
        return min(max(_LEAST_PAUSE_S, learned_s), self._patience_s())


def take_turn(ticket: NDArray[np.int64], patience_s: float) -> None:
    """Wait until a ticket's picture may be worked on; at once where the gate is gone, or never was.

    Args:
        ticket: (2,) int64, from `Gate.enter`.
        patience_s: how long after it was given the turn is still wanted.

    Raises:
        TurnedAway: it came too late.
    """
    key, number = _parts(ticket)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asker:
        asker.bind("")  # the kernel chooses a name
        asker.settimeout(1.0)
        while True:
            try:
                asker.sendto(_MESSAGE.pack(key, _ASK, number, patience_s), _address(key))
                answer = asker.recv(16)
            except TimeoutError:
                continue  # ask again, and notice when the gate has died
            except OSError:
                return
            if answer == _TOO_LATE:
                raise TurnedAway(EXPIRED, f"Request timeout expired: its turn did not come within {patience_s:g} s")
            return


def leave(ticket: NDArray[np.int64]) -> None:
    """Hand a ticket back; a gate that is gone, or never was, is no error."""
    _say(_LEAVE, ticket)


def pause(ticket: NDArray[np.int64]) -> None:
    """Leave a ticket with the gate: if nobody takes it up soon, it has been handed back."""
    _say(_PAUSE, ticket)


def resume(ticket: NDArray[np.int64]) -> None:
    """Take a ticket up that was left with the gate."""
    _say(_RESUME, ticket)


def _say(what: bytes, ticket: NDArray[np.int64]) -> None:
    key, number = _parts(ticket)
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(1.0)  # the gate's thread reads at once, unless its process hangs
        sender.sendto(_MESSAGE.pack(key, what, number, 0), _address(key))


def _parts(ticket: NDArray[np.int64]) -> tuple[int, int]:
    key, number = (int(value) & (2**63 - 1) for value in ticket)
    return key, number


def _address(key: int) -> str:
    return "\0cigpose-gate-" + hashlib.sha256(key.to_bytes(8, "little")).hexdigest()[:16]
