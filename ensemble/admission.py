"""How many pictures may be in the pipeline, and how many of them in work: a gate at its beginning, tickets to leave by.

Triton 2.51 bounds the queue of a step, not an ensemble. Bounded at the slowest step alone, an overloaded server would
decode, and search for people, in pictures that it refuses afterwards. And beside a bounded queue, Triton's scheduler
may sleep for half a second (`docs/decisions/0022-gate.md`). So the first step counts: whom it lets in waits in the
queue of the second, which has no limit of its own and needs none, and who is too many is refused.

A ticket goes through the steps as a tensor. The second step asks the gate for the picture's turn, and the step that
ends a request hands the ticket back, by datagrams to a socket in Linux's abstract namespace, which needs no file and
vanishes with its process.
"""

import contextlib
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
_LEAST_PATIENCE_S = 1.0
_REMEMBERED = 32
_MESSAGE = struct.Struct("<?Qd")  # whether a turn is asked for, the ticket's number, how long it may have waited
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
    and a second at least, is not waited for. Neither is one that does not ask for its turn while later ones do, or
    while nobody does for as long.
    """

    def __init__(self, places: int, waiting: int, clock: Callable[[], float] = time.monotonic):
        self._places, self._limit, self._clock = places, places + waiting, clock
        self._key = secrets.randbits(62)
        self._number = 0
        self._inside: dict[int, float] = {}  # ticket number -> when it was given
        self._asking: dict[int, tuple[bytes, float]] = {}  # of these: by whom, and when its patience ends
        self._working: dict[int, float] = {}  # of these: since when, oldest first
        self._stays: deque[float] = deque(maxlen=_REMEMBERED)  # how long the last ones worked
        self._asked = clock()  # when somebody last asked
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(_address(self._key))
        threading.Thread(target=self._listen, daemon=True).start()

    def enter(self) -> NDArray[np.int64]:
        """Return a ticket: (2,) int64, the gate's key and a number.

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
            self._number += 1
            self._inside[self._number] = now
            return np.array([self._key, self._number], np.int64)

    def _listen(self) -> None:
        while True:
            with self._lock:
                self._forget(self._clock())
                self._let_work()
                full_until = next(iter(self._working.values())) + self._patience_s() if self._asking else None
            self._socket.settimeout(full_until and max(0.01, full_until - self._clock()))
            with contextlib.suppress(TimeoutError, struct.error):
                message, sender = self._socket.recvfrom(_MESSAGE.size)
                self._take(message, sender)

    def _take(self, message: bytes, sender: bytes) -> None:
        asks, number, patience_s = _MESSAGE.unpack(message)
        with self._lock:
            now = self._clock()
            if asks and number in self._working:  # the answer and the next question crossed
                self._answer(sender, _GO)
            elif asks:
                self._asked, entered = now, self._inside.get(number, now)
                if entered + patience_s < now:
                    self._answer(sender, _TOO_LATE)
                else:
                    self._inside[number], self._asking[number] = entered, (sender, entered + patience_s)
                self._drop(lambda given: given < entered - _LEAST_PATIENCE_S)  # the queue is first in, first out
            else:
                self._inside.pop(number, None)
                self._asking.pop(number, None)
                began = self._working.pop(number, None)
                self._stays.extend([now - began] if began is not None else [])

    def _let_work(self) -> None:
        while self._asking and len(self._working) < self._places:
            number = next(iter(self._asking))
            sender, until = self._asking.pop(number)
            now = self._clock()
            if now <= until:
                self._working[number] = now
            self._answer(sender, _GO if now <= until else _TOO_LATE)

    def _answer(self, sender: bytes, answer: bytes) -> None:
        with contextlib.suppress(OSError):  # it has gone, or does not read
            self._socket.sendto(answer, socket.MSG_DONTWAIT, sender)

    def _forget(self, now: float) -> None:
        oldest_allowed = now - self._patience_s()
        for number in [number for number, began in self._working.items() if began < oldest_allowed]:
            del self._working[number]
            self._inside.pop(number, None)
        if not self._asking and self._asked < oldest_allowed:
            self._drop(lambda given: given < oldest_allowed)

    def _drop(self, is_old: Callable[[float], bool]) -> None:
        """Do not wait for tickets of a certain age that neither work nor ask."""
        idle = [number for number, given in self._inside.items() if is_old(given)]
        for number in idle:
            if number not in self._working and number not in self._asking:
                del self._inside[number]

    def _patience_s(self) -> float:
        return max(_LEAST_PATIENCE_S, 2 * max(self._stays)) if self._stays else _FIRST_PATIENCE_S


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
                asker.sendto(_MESSAGE.pack(True, number, patience_s), _address(key))
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
    key, number = _parts(ticket)
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(1.0)  # the gate's thread reads at once, unless its process hangs
        sender.sendto(_MESSAGE.pack(False, number, 0), _address(key))


def _parts(ticket: NDArray[np.int64]) -> tuple[int, int]:
    key, number = (int(value) & (2**63 - 1) for value in ticket)
    return key, number


def _address(key: int) -> str:
    return f"\0cigpose-gate-{key:016x}"
