"""The admission gate: limits how many requests are inside a pipeline, and how many of them are in work.

Triton 2.51 limits the queue of a step, not of an ensemble. With a limit at the slowest step alone, an
overloaded server would decode pictures and detect people, and then reject the request. With a limited queue, Triton's
scheduler may also sleep for half a second (`docs/decisions/0022-gate.md`). So the first step counts requests. Admitted
ones wait in the second step's unlimited queue; the rest are rejected.
"""

import contextlib
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ensemble.triton.admission.overload import Bounds
from ensemble.triton.admission.places import Places
from ensemble.triton.admission.tickets import (
    ASK,
    FULL,
    GO,
    HANG_UP,
    LEAVE,
    MESSAGE,
    PAUSE,
    RESUME,
    TOO_LATE,
    TurnedAway,
    address,
)


class Gate:
    """Gives requests their turn in the order of arrival, and rejects those above the bounds that `Overload` sets.

    Any process on the machine can send to its socket, so each message carries the gate's key, and tickets are random.
    """

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = time.monotonic):
        self._waiting, self._clock = bounds.waiting, clock
        self._places = Places(bounds, clock())
        self._key = secrets.randbits(62)
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address(self._key))
        threading.Thread(target=self._listen, daemon=True).start()

    def enter(self) -> NDArray[np.int64]:
        """Return a ticket: (2,) int64, the gate's key and an unguessable number.

        Raises:
            TurnedAway: the queue is full.
        """
        number = secrets.randbits(62)
        with self._lock:
            if not self._places.enter(number, self._clock()):
                raise TurnedAway(FULL, f"Exceeds maximum queue size of {self._waiting} pictures; try again later")
        return np.array([self._key, number], np.int64)

    def _listen(self) -> None:
        while True:
            with self._lock:
                self._places.give_up(self._clock())
                self._let_work()
                next_change = self._places.next_change(self._clock())
                wait_s = None if next_change is None else max(0.01, next_change - self._clock())
            self._socket.settimeout(wait_s)
            with contextlib.suppress(TimeoutError, struct.error):
                message, sender = self._socket.recvfrom(MESSAGE.size)
                key, said, number, patience_s = MESSAGE.unpack(message)
                if key == self._key:
                    with self._lock:
                        self._take(said, number, sender, patience_s)

    def _take(self, said: bytes, number: int, sender: str | None, patience_s: float) -> None:
        now = self._clock()
        if said == LEAVE:
            self._places.leave(number, now)
        elif said == HANG_UP:
            self._places.abandon(number, now)
        elif said == PAUSE:
            self._places.pause(number, now)
        elif said == RESUME:
            self._places.resume(number, now)
        elif said == ASK and sender:
            if self._places.works(number):  # the answer and the next question crossed
                self._answer(sender, GO)
            elif not self._places.ask(number, sender, patience_s, now):
                self._answer(sender, TOO_LATE)

    def _let_work(self) -> None:
        now = self._clock()
        while asking := self._places.next_asking(now):
            if asking.until < now:
                self._answer(asking.asker, TOO_LATE)
            elif self._answer(asking.asker, GO):
                self._places.begin(asking.number, now)

    def _answer(self, asker: str, answer: bytes) -> bool:
        try:
            self._socket.sendto(answer, socket.MSG_DONTWAIT, asker)
        except OSError:  # the asker has gone
            return False
        return True
