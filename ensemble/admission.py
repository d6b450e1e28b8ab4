"""How many pictures may be in the pipeline at once: a gate at its beginning, and tickets handed back at its end.

Triton 2.51 bounds the queue of a step, not an ensemble. Bounded at the slowest step alone, an overloaded server would
decode, and search for people, in pictures that it refuses afterwards; so the first step lets in as many as the rest
can hold, and the queue in front of it is the one that grows full.

A ticket goes through the steps as a tensor. The step that ends a request sends it back to the gate, by a datagram to a
socket in Linux's abstract namespace, which needs no file and vanishes with its process.
"""

import contextlib
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_FIRST_PATIENCE_S = 10.0  # while nobody has come back yet: the first request of a server may be slow
_LEAST_PATIENCE_S = 1.0
_REMEMBERED = 32


class Gate:
    """Lets `limit` requests in at once.

    A ticket may get lost: Triton tells no step when a caller hangs up while the request waits for the next one, and a
    process may die. So one that stays out for more than twice as long as any of those that came back lately, and a
    second at least, is not waited for.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic):
        self._limit, self._clock = limit, clock
        self._key = secrets.randbits(62)
        self._number = 0
        self._entered: dict[int, float] = {}  # ticket number -> when, oldest first
        self._stays: deque[float] = deque(maxlen=_REMEMBERED)  # how long the last ones were in
        self._changed = threading.Condition()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(_address(self._key))
        threading.Thread(target=self._listen, daemon=True).start()

    def enter(self) -> NDArray[np.int64]:
        """Wait for a free place, and return the ticket for it: (2,) int64, the gate's key and a number."""
        with self._changed:
            while len(self._entered) >= self._limit:
                oldest = next(iter(self._entered))
                patience_s = self._entered[oldest] + self._patience_s() - self._clock()
                if patience_s <= 0:
                    del self._entered[oldest]
                else:
                    self._changed.wait(patience_s)
            self._number += 1
            self._entered[self._number] = self._clock()
            return np.array([self._key, self._number], np.int64)

    def _patience_s(self) -> float:
        return max(_LEAST_PATIENCE_S, 2 * max(self._stays)) if self._stays else _FIRST_PATIENCE_S

    def _listen(self) -> None:
        while True:
            number = int.from_bytes(self._socket.recv(8), "little")
            with self._changed:
                entered = self._entered.pop(number, None)
                if entered is not None:
                    self._stays.append(self._clock() - entered)
                    self._changed.notify()


def leave(ticket: NDArray[np.int64]) -> None:
    """Hand a ticket back; a gate that is gone, or never was, is no error."""
    key, number = (int(value) & (2**63 - 1) for value in ticket)
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(1.0)  # the gate's thread reads at once, unless its process hangs
        sender.sendto(number.to_bytes(8, "little"), _address(key))


def _address(key: int) -> str:
    return f"\0cigpose-gate-{key:016x}"
