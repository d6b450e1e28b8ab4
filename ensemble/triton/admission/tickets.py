"""Tickets of the gate: how a picture waits for its turn, and how its place becomes free.

A ticket goes through the steps as a tensor. The second step asks the gate for the picture's turn, and the step that
ends a request hands the ticket back. Triton tells no step whether it is the last one, as it is when boxes alone are
wanted: such a step leaves the ticket with the gate, and the next one takes it up.

They talk by datagrams to a socket in Linux's abstract namespace, which needs no file and vanishes with its process.
"""

import contextlib
import hashlib
import socket
import struct

import numpy as np
from numpy.typing import NDArray

FULL, EXPIRED = "full", "expired"
MESSAGE = struct.Struct("<QcQd")  # the gate's key, what is said, the ticket, how long it may have waited
ASK, LEAVE, PAUSE, RESUME, HANG_UP = b"?", b"-", b"~", b"+", b"!"
GO, TOO_LATE = b"go", b"too late"


class TurnedAway(RuntimeError):
    """There is no place, or none in time; `reason` is `FULL` or `EXPIRED`, the text is for the caller."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


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
    """Hand a ticket back; a gate that is gone, or never was, is no error."""
    _say(LEAVE, ticket)


def hang_up(ticket: NDArray[np.int64]) -> None:
    """Hand back the ticket of a caller that has hung up: the gate learns how long callers wait."""
    _say(HANG_UP, ticket)


def pause(ticket: NDArray[np.int64]) -> None:
    """Leave a ticket with the gate: if nobody takes it up soon, it has been handed back."""
    _say(PAUSE, ticket)


def resume(ticket: NDArray[np.int64]) -> None:
    """Take a ticket up that was left with the gate."""
    _say(RESUME, ticket)


def address(key: int) -> str:
    """Return where the gate of a key listens; who reads it in /proc/net/unix does not learn the key."""
    return "\0cigpose-gate-" + hashlib.sha256(key.to_bytes(8, "little")).hexdigest()[:16]


def _say(what: bytes, ticket: NDArray[np.int64]) -> None:
    key, number = _parts(ticket)
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(1.0)  # the gate's thread reads at once, unless its process hangs
        sender.sendto(MESSAGE.pack(key, what, number, 0), address(key))


def _parts(ticket: NDArray[np.int64]) -> tuple[int, int]:
    key, number = (int(value) & (2**63 - 1) for value in ticket)
    return key, number
