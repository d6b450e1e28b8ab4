"""The messages between the gate and its tickets. See test_places.py for the order of work."""

import contextlib
import socket
import threading

import numpy as np
import pytest

from ensemble.triton.admission.gate import Gate
from ensemble.triton.admission.overload import Bounds
from ensemble.triton.admission.tickets import (
    ASK,
    EXPIRED,
    FULL,
    GO,
    LEAVE,
    MESSAGE,
    TurnedAway,
    address,
    hang_up,
    leave,
    pause,
    resume,
    take_turn,
)


class Asker:
    """Asks for the turn of a ticket; `answer` is None until the answer has come."""

    def __init__(self, ticket, patience_s=60.0):
        self.answer = None
        self._thread = threading.Thread(target=self._ask, args=(ticket, patience_s), daemon=True)
        self._thread.start()

    def _ask(self, ticket, patience_s):
        try:
            take_turn(ticket, patience_s)
            self.answer = "go"
        except TurnedAway as error:
            self.answer = error.reason

    def wait(self, seconds=30.0):
        self._thread.join(seconds)
        return self.answer


def at_rest(*bounds):
    """Return a gate whose clock stands still: no ticket seems lost, however slow the machine is."""
    return Gate(Bounds(*bounds), clock=lambda: 100.0)


def begin(ticket):
    """Ask for the turn of a ticket that gets it immediately."""
    assert Asker(ticket).wait() == "go"


@contextlib.contextmanager
def asking(ticket):
    """Ask for the turn of a ticket, once, and yield the socket that gets the answer."""
    key, number = (int(part) for part in ticket)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asker:
        asker.bind("")
        asker.settimeout(30)
        asker.sendto(MESSAGE.pack(key, ASK, number, 60.0), address(key))
        yield asker


def settled(gate):
    """Wait until the gate has handled all messages so far."""
    for _ in range(2):  # the gate reads the second one after it has acted on everything before the first
        assert Asker(np.array([gate._key, 2**62], np.int64), patience_s=-1).wait() == EXPIRED
    return gate


def test_turns_are_given_in_order_when_others_leave():
    gate = at_rest(1, 1, 5)
    first, second, third = gate.enter(), gate.enter(), gate.enter()
    assert first.dtype == np.int64 and first.shape == (2,)
    begin(first)
    askers = [Asker(second)]
    settled(gate)
    askers += [Asker(third)]
    settled(gate)
    assert [asker.wait(0.1) for asker in askers] == [None, None]
    leave(first)
    assert askers[0].wait() == "go" and askers[1].wait(0.1) is None
    leave(second)
    assert askers[1].wait() == "go"


def test_a_full_queue_rejects_immediately():
    gate = at_rest(1, 1, 2)
    tickets = [gate.enter() for _ in range(3)]
    with pytest.raises(TurnedAway, match="Exceeds maximum queue size of 2 pictures") as caught:
        gate.enter()
    assert caught.value.reason == FULL
    leave(tickets[1])
    settled(gate).enter()


def test_an_expired_wait_is_rejected():
    now = [100.0]
    gate = Gate(Bounds(1, 1, 5), clock=lambda: now[0])
    first, second, third, late = (gate.enter() for _ in range(4))
    begin(first)
    asker = Asker(second, patience_s=2)
    settled(gate)
    now[0] += 2.1
    assert Asker(late, patience_s=2).wait() == EXPIRED, "immediately, though no place is free"
    leave(first)
    assert asker.wait() == EXPIRED
    assert Asker(third, patience_s=3).wait() == "go", "the place is still free"


def test_the_text_of_an_expired_wait_is_that_of_the_contract():
    gate = at_rest(1, 1, 5)
    with pytest.raises(TurnedAway, match=r"^Request timeout expired: its turn did not come in time$"):
        take_turn(gate.enter(), -1)


def test_a_lost_ticket_frees_its_place():
    now = [100.0]
    gate = Gate(Bounds(1, 1, 5), clock=lambda: now[0])
    lost, second = gate.enter(), gate.enter()
    begin(lost)
    asker = Asker(second)
    settled(gate)
    now[0] += 10.1
    settled(gate)
    assert asker.wait() == "go"


def test_a_paused_ticket_frees_its_place_without_another_message():
    gate = Gate(Bounds(1, 1, 5))
    first, second = gate.enter(), gate.enter()
    begin(first)
    pause(first)
    with asking(second) as asker:
        assert asker.recv(16) == GO


def test_a_resumed_ticket_keeps_its_place():
    now = [100.0]
    gate = Gate(Bounds(1, 1, 5), clock=lambda: now[0])
    first, second = gate.enter(), gate.enter()
    begin(first)
    pause(first)
    resume(first)
    asker = Asker(second)
    settled(gate)
    now[0] += 1
    settled(gate)
    assert asker.wait(0.1) is None
    leave(first)
    assert asker.wait() == "go"


def test_the_place_of_a_closed_asker_stays_free():
    gate = at_rest(1, 1, 5)
    first, second, third = gate.enter(), gate.enter(), gate.enter()
    begin(first)
    with asking(second):
        settled(gate)
    leave(first)
    begin(third)


@pytest.mark.parametrize("hand_back", [leave, hang_up])
def test_a_returned_ticket_frees_its_place(hand_back):
    gate = at_rest(1, 1, 0)
    first = gate.enter()
    begin(first)
    hand_back(first)
    begin(settled(gate).enter())


@pytest.mark.parametrize(("hand_back", "answer"), [(leave, "go"), (hang_up, EXPIRED)])
def test_three_hang_ups_make_the_gate_reject_long_waits(hand_back, answer):
    now = [100.0]
    gate = Gate(Bounds(1, 1, 20), clock=lambda: now[0])
    tickets = [gate.enter() for _ in range(4)]
    for ticket in tickets[:3]:
        now[0] += 1
        begin(ticket)
        hand_back(ticket)
    now[0] += 1
    assert Asker(tickets[3]).wait() == answer


def test_a_gate_does_not_keep_its_process_alive():
    before = set(threading.enumerate())
    Gate(Bounds(1, 1, 0))
    (thread,) = set(threading.enumerate()) - before
    assert thread.daemon


def test_a_thousand_tickets_may_be_returned_at_the_same_time(monkeypatch):
    gate = at_rest(1000, 1000, 0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as patient:  # without a limit of time
        monkeypatch.setattr("ensemble.triton.admission.tickets._sender", lambda: patient)
        for ticket in [gate.enter() for _ in range(1000)]:
            leave(ticket)
    settled(gate)
    assert len([gate.enter() for _ in range(1000)]) == 1000


def test_asking_twice_takes_one_place():
    """An answer may cross with the next question."""
    gate = at_rest(1, 1, 5)
    first, second = gate.enter(), gate.enter()
    begin(first)
    begin(first)  # though there is no other place
    leave(first)
    begin(second)  # the first one took one place


@pytest.mark.parametrize("ticket", [[1, 1], [-1, -1], [2**62, 5]])
def test_a_ticket_without_a_gate_is_no_error(ticket):
    for hand_back in (leave, pause, resume, hang_up):
        hand_back(np.array(ticket, np.int64))
    assert Asker(np.array(ticket, np.int64)).wait() == "go", "no gate, no wait"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"too short",
        bytes(100),
        lambda key, number: MESSAGE.pack(key, ASK, number, 60.0),
        lambda key, number: MESSAGE.pack(key ^ 1, LEAVE, number, 0.0),
    ],
    ids=["empty", "short", "zeros", "no address for the answer", "without the key"],
)
def test_odd_messages_change_nothing(message):
    gate = at_rest(1, 1, 0)
    key, number = (int(part) for part in gate.enter())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(message(key, number) if callable(message) else message, address(key))
    settled(gate)
    with pytest.raises(TurnedAway):
        gate.enter()
    assert Asker(np.array([key, number], np.int64)).wait() == "go"
