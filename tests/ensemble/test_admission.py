import contextlib
import socket
import threading
import time

import numpy as np
import pytest

from ensemble.admission import (
    _ASK,
    _LEAVE,
    _MESSAGE,
    EXPIRED,
    FULL,
    Gate,
    TurnedAway,
    _address,
    leave,
    pause,
    resume,
    take_turn,
)


class Asker:
    """Asks for the turn of a ticket; `answer` is what came, None as long as it waits."""

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

    def wait(self, seconds=5.0):
        self._thread.join(seconds)
        return self.answer


@contextlib.contextmanager
def asking(ticket, patience_s):
    """Ask for the turn of a ticket, once, and yield the socket that gets the answer."""
    key, number = (int(part) for part in ticket)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asker:
        asker.bind("")
        asker.sendto(_MESSAGE.pack(key, _ASK, number, patience_s), _address(key))
        yield asker


def answered(gate, asker):
    with contextlib.suppress(BlockingIOError):
        return asker.recv(16, socket.MSG_DONTWAIT)
    return None


def settled(gate):
    """Wait until the gate has read what was sent to it, in order, and acted."""
    for _ in range(2):  # it reads the second after all that follows from what came before the first
        with pytest.raises(TurnedAway):
            take_turn(np.array([gate._key, 2**62], np.int64), patience_s=-1)
    return gate


def test_as_many_as_there_are_places_work_and_the_next_one_when_one_leaves():
    gate = Gate(2, waiting=5)
    first, second, third = gate.enter(), gate.enter(), gate.enter()
    assert first.dtype == np.int64 and first.shape == (2,)
    assert [Asker(ticket).wait() for ticket in (first, second)] == ["go", "go"]
    asker = Asker(third)
    assert asker.wait(0.2) is None
    leave(second)
    assert asker.wait() == "go"


def test_turns_come_in_the_order_in_which_they_were_asked_for():
    gate = Gate(1, waiting=5)
    first, second, third = gate.enter(), gate.enter(), gate.enter()
    take_turn(first, 60)
    askers = [Asker(second)]
    settled(gate)
    askers += [Asker(third)]
    settled(gate)
    leave(first)
    assert askers[0].wait() == "go" and askers[1].wait(0.2) is None


def test_who_is_too_many_is_turned_away_at_once_and_nobody_else():
    gate = Gate(1, waiting=2)
    tickets = [gate.enter() for _ in range(3)]
    with pytest.raises(TurnedAway, match="Exceeds maximum queue size of 2 pictures") as caught:
        gate.enter()
    assert caught.value.reason == FULL
    leave(tickets[1])
    settled(gate).enter()


def test_whose_patience_has_ended_does_not_work():
    now = [100.0]
    gate = Gate(1, waiting=5, clock=lambda: now[0])
    first, second, third = gate.enter(), gate.enter(), gate.enter()
    take_turn(first, 60)
    asker = Asker(second, patience_s=2)
    settled(gate)
    now[0] += 2.1
    leave(first)
    assert asker.wait() == EXPIRED
    assert Asker(third, patience_s=3).wait() == "go", "the place is still free"


def test_who_comes_too_late_is_told_at_once_though_no_place_is_free():
    now = [100.0]
    gate = Gate(1, waiting=5, clock=lambda: now[0])
    first, second = gate.enter(), gate.enter()
    take_turn(first, 60)
    now[0] += 2.1
    assert Asker(second, patience_s=2).wait() == EXPIRED


def test_a_thousand_leave_faster_than_anybody_asks():
    gate = Gate(1000, waiting=0)
    for ticket in [gate.enter() for _ in range(1000)]:
        leave(ticket)
    give_up = time.monotonic() + 5
    while gate._inside and time.monotonic() < give_up:
        time.sleep(0.01)
    assert not gate._inside


def test_a_lost_ticket_in_work_is_not_waited_for_longer_than_twice_the_longest_stay():
    now = [100.0]
    gate = Gate(1, waiting=5, clock=lambda: now[0])
    ticket = gate.enter()
    take_turn(ticket, 60)
    now[0] += 3.0
    leave(ticket)
    take_turn(settled(gate).enter(), 60)  # its process dies: nobody hands this one back
    asker = Asker(settled(gate).enter())
    now[0] += 5.9
    settled(gate)
    assert asker.wait(0.1) is None
    now[0] += 0.2
    settled(gate)
    assert asker.wait() == "go"


def test_a_lost_ticket_that_never_asks_holds_no_place_once_later_ones_ask():
    now = [100.0]
    gate = Gate(2, waiting=1, clock=lambda: now[0])
    gate.enter()  # its caller hangs up between two steps
    now[0] += 1.1
    later = gate.enter()
    assert Asker(later).wait() == "go"
    assert [settled(gate).enter().shape, gate.enter().shape] == [(2,), (2,)]
    with pytest.raises(TurnedAway):
        gate.enter()


def test_a_full_queue_of_lost_tickets_does_not_shut_the_gate_for_good():
    """The process that decodes has died with all that waited for it."""
    now = [100.0]
    gate = Gate(1, waiting=9, clock=lambda: now[0])
    [gate.enter() for _ in range(10)]
    now[0] += 9.9
    with pytest.raises(TurnedAway):
        gate.enter()
    now[0] += 0.2
    gate.enter()


def test_a_ticket_that_is_left_has_ended_unless_it_is_taken_up_soon():
    now = [100.0]
    gate = Gate(1, waiting=5, clock=lambda: now[0])
    first, second, third = gate.enter(), gate.enter(), gate.enter()
    take_turn(first, 60)
    pause(first)
    asker = Asker(second)
    settled(gate)
    now[0] += 0.4
    settled(gate)
    assert asker.wait(0.1) is None, "it may go on"
    now[0] += 0.2
    settled(gate)
    assert asker.wait() == "go"
    pause(second)
    settled(gate)
    now[0] += 0.4
    resume(second)
    asker = Asker(third)
    settled(gate)
    now[0] += 0.6
    settled(gate)
    assert asker.wait(0.1) is None, "it went on"
    leave(second)
    assert asker.wait() == "go"


def test_pauses_are_as_long_as_they_lately_were():
    now = [100.0]
    gate = Gate(1, waiting=5, clock=lambda: now[0])
    first, second = gate.enter(), gate.enter()
    take_turn(first, 60)
    for _ in range(2):
        pause(first)
        settled(gate)
        now[0] += 0.03
        resume(first)
    pause(first)
    asker = Asker(second)
    settled(gate)
    now[0] += 0.05
    settled(gate)
    assert asker.wait(0.1) is None
    now[0] += 0.02
    settled(gate)
    assert asker.wait() == "go"


def test_a_ticket_that_goes_on_after_its_place_was_given_away_takes_one_again():
    now = [100.0]
    gate = Gate(1, waiting=5, clock=lambda: now[0])
    first, second, third = gate.enter(), gate.enter(), gate.enter()
    take_turn(first, 60)
    pause(first)
    settled(gate)
    now[0] += 0.6
    take_turn(second, 60)
    resume(first)
    leave(second)
    asker = Asker(third)
    settled(gate)
    assert asker.wait(0.1) is None
    leave(first)
    assert asker.wait() == "go"


@pytest.mark.parametrize("ticket", [[1, 1], [-1, -1], [2**62, 5]])
def test_a_ticket_of_nobody_is_no_error(ticket):
    take_turn(np.array(ticket, np.int64), 1.0)
    leave(np.array(ticket, np.int64))


def test_a_ticket_that_comes_back_twice_counts_once():
    gate = Gate(1, waiting=1)
    first, _ = gate.enter(), gate.enter()
    leave(first)
    leave(first)
    settled(gate).enter()
    with pytest.raises(TurnedAway):
        gate.enter()


def test_who_asks_twice_works_once():
    """An answer may cross with the next question."""
    gate = Gate(1, waiting=5)
    first, second = gate.enter(), gate.enter()
    take_turn(first, 60)
    assert Asker(first).wait() == "go", "though there is no other place"
    leave(first)
    assert Asker(second).wait() == "go", "it took one place"


@pytest.mark.parametrize("come_back", [leave, resume])
def test_a_late_ticket_that_comes_back_gives_the_next_ones_more_time(come_back):
    now = [100.0]
    gate = Gate(1, waiting=5, clock=lambda: now[0])
    quick, slow = gate.enter(), gate.enter()
    take_turn(quick, 60)
    leave(quick)
    take_turn(slow, 60)
    now[0] += 1.1
    next_one = settled(gate).enter()
    take_turn(next_one, 60)  # the slow one is believed lost
    now[0] += 1.9
    come_back(slow)
    leave(slow)
    asker = Asker(settled(gate).enter())
    now[0] += 4.0
    settled(gate)
    assert asker.wait(0.1) is None, "twice the 3 s of the slow one are not over"
    now[0] += 0.2
    settled(gate)
    assert asker.wait() == "go"


def test_where_everything_stands_still_the_gate_opens_ever_more_seldom():
    now = [100.0]
    gate = Gate(1, waiting=9, clock=lambda: now[0])
    first = gate.enter()
    take_turn(first, 600)
    leave(first)
    settled(gate)
    opened = []
    for _ in range(4):
        ticket = gate.enter()
        with asking(ticket, patience_s=600) as asker:
            while not answered(settled(gate), asker):
                now[0] += 0.5
        opened.append(now[0] - 100)
    assert opened == [0, 1.5, 5, 12.5]


def test_who_asks_without_a_ticket_costs_nobody_theirs():
    now = [100.0]
    gate = Gate(1, waiting=2, clock=lambda: now[0])
    take_turn(gate.enter(), 60)
    [gate.enter() for _ in range(2)]
    now[0] += 1.5
    settled(gate)
    with pytest.raises(TurnedAway):
        gate.enter()


def test_the_place_of_an_asker_who_has_gone_stays_free():
    gate = Gate(1, waiting=5)
    first, second, third = gate.enter(), gate.enter(), gate.enter()
    take_turn(first, 60)
    with asking(second, 60):
        settled(gate)
    leave(first)
    assert Asker(third).wait() == "go"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"too short",
        bytes(100),
        lambda key, number: _MESSAGE.pack(key, _ASK, number, 60.0),
        lambda key, number: _MESSAGE.pack(key ^ 1, _LEAVE, number, 0.0),
    ],
    ids=["empty", "short", "zeros", "nobody to answer", "without the key"],
)
def test_odd_messages_change_nothing(message):
    gate = Gate(1, waiting=0)
    key, number = (int(part) for part in gate.enter())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(message(key, number) if callable(message) else message, _address(key))
    settled(gate)
    with pytest.raises(TurnedAway):
        gate.enter()
    assert Asker(np.array([key, number], np.int64)).wait() == "go"
