"""How many pictures may be in the pipeline, and how many of them in work: a gate at its beginning.

Triton 2.51 bounds the queue of a step, not an ensemble. Bounded at the slowest step alone, an overloaded server would
decode, and search for people, in pictures that it refuses afterwards. And beside a bounded queue, Triton's scheduler
may sleep for half a second (`docs/decisions/0022-gate.md`). So the first step counts: whom it lets in waits in the
queue of the second, which has no limit of its own and needs none, and who is too many is refused.
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

from ensemble.admission import ASK, FULL, GO, LEAVE, MESSAGE, PAUSE, RESUME, TOO_LATE, TurnedAway, address
from ensemble.places import Places


class Gate:
    """Lets `places` pictures work at once, and as many as `waiting` wait for their turn (`ensemble/places.py`).

    Everybody on the machine may send to its socket, so a message carries its key, and tickets cannot be guessed.
    """

    def __init__(self, places: int, waiting: int, clock: Callable[[], float] = time.monotonic):
        self._waiting, self._clock = waiting, clock
        self._places = Places(places, waiting, clock())
        self._key = secrets.randbits(62)
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address(self._key))
        threading.Thread(target=self._listen, daemon=True).start()

    def enter(self) -> NDArray[np.int64]:
        """Return a ticket: (2,) int64, the gate's key and a number that nobody else knows.

        Raises:
            TurnedAway: as many are inside as may be.
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
                next_change = self._places.next_change()
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
        while asking := self._places.next_asking():
            now = self._clock()
            if asking.until < now:
                self._answer(asking.asker, TOO_LATE)
            elif self._answer(asking.asker, GO):
                self._places.begin(asking.number, now)

    def _answer(self, asker: str, answer: bytes) -> bool:
        try:
            self._socket.sendto(answer, socket.MSG_DONTWAIT, asker)
        except OSError:  # it has gone
            return False
        return True
