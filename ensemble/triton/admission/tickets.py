"""Tickets of the gate: how a request waits for its turn, and how its place becomes free.

A ticket travels through the steps as a tensor. The second step asks the gate for the request's turn. The step that ends
a request returns the ticket. A step does not know whether it is the last one, which it is when only boxes are wanted.
Such a step pauses the ticket, and the next step resumes it.

Steps and gate exchange datagrams. The gate's socket is in Linux's abstract namespace: it needs no file and vanishes
with its process.
"""

import atexit
import contextlib
import functools
import hashlib
import socket
import struct

import numpy as np
from numpy.typing import NDArray

FULL, EXPIRED = "full", "expired"
MESSAGE = struct.Struct("<QcQd")  # the gate's key, the action, the ticket's number, the longest wait in seconds
ASK, LEAVE, PAUSE, RESUME, HANG_UP = b"?", b"-", b"~", b"+", b"!"
GO, TOO_LATE = b"go", b"too late"


class TurnedAway(RuntimeError):
    """The request is rejected. `reason` is `FULL` or `EXPIRED`; the text is shown to the caller."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


def take_turn(ticket: NDArray[np.int64], patience_s: float) -> None:
    """Wait for a ticket's turn. Return immediately when there is no such gate.

    Args:
        ticket: (2,) int64, from `Gate.enter`.
        patience_s: longest wait, from the moment at which the ticket was given.

    Raises:
        TurnedAway: the turn came too late.
    """
    key, number = _parts(ticket)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asker:
        asker.bind("")  # the kernel chooses a name
        asker.settimeout(1.0)
        while True:
            try:
                asker.sendto(MESSAGE.pack(key, ASK, number, patience_s), address(key))
                answer = asker.recv(16)
            except TimeoutError:
                continue  # ask again, and notice when the gate has died
            except OSError:
                return
            if answer == TOO_LATE:
                raise TurnedAway(EXPIRED, "Request timeout expired: its turn did not come in time")
            return


def leave(ticket: NDArray[np.int64]) -> None:
    """Return a ticket to its gate. A missing gate is no error."""
    _say(LEAVE, ticket)


def hang_up(ticket: NDArray[np.int64]) -> None:
    """Return the ticket of a caller that has hung up. The gate learns from it how long callers wait."""
    _say(HANG_UP, ticket)


def pause(ticket: NDArray[np.int64]) -> None:
    """Pause a ticket. The gate frees its place unless a step resumes it soon."""
    _say(PAUSE, ticket)


def resume(ticket: NDArray[np.int64]) -> None:
    """Resume a paused ticket."""
    _say(RESUME, ticket)


@functools.lru_cache(8)
def address(key: int) -> str:
    """Return the address of a gate's socket. /proc/net/unix lists it, so it does not reveal the key."""
    return "\0cigpose-gate-" + hashlib.sha256(key.to_bytes(8, "little")).hexdigest()[:16]


def _say(what: bytes, ticket: NDArray[np.int64]) -> None:
    key, number = _parts(ticket)
    with contextlib.suppress(OSError):
        _sender().sendto(MESSAGE.pack(key, what, number, 0), address(key))


@functools.cache
def _sender() -> socket.socket:
    """Return the process's socket for messages without an answer."""
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    atexit.register(sender.close)
    sender.settimeout(1.0)  # the gate's thread reads immediately, unless its process hangs
    return sender


def _parts(ticket: NDArray[np.int64]) -> tuple[int, int]:
    key, number = (int(value) & (2**63 - 1) for value in ticket)
    return key, number
