import threading
import time

import numpy as np
import pytest

from ensemble.admission import Gate, leave


def enter_within(gate, seconds):
    """Return the ticket, or None when the gate stays shut for that long (then the caller goes on waiting)."""
    tickets = []
    thread = threading.Thread(target=lambda: tickets.append(gate.enter()), daemon=True)
    thread.start()
    thread.join(seconds)
    return tickets[0] if tickets else None


def test_it_lets_in_as_many_as_there_are_places_and_the_next_one_when_one_leaves():
    gate = Gate(2)
    first, second = gate.enter(), gate.enter()
    assert first.dtype == np.int64 and first.shape == (2,)
    tickets = []
    thread = threading.Thread(target=lambda: tickets.append(gate.enter()))
    thread.start()
    thread.join(0.2)
    assert not tickets
    leave(second)
    thread.join(5)
    assert tickets[0].tolist() == [first[0], 3]


def test_a_thousand_leave_faster_than_anybody_enters():
    gate = Gate(1000)
    for ticket in [gate.enter() for _ in range(1000)]:
        leave(ticket)
    while gate._entered:
        time.sleep(0.01)


def test_a_lost_ticket_is_not_waited_for_longer_than_twice_the_longest_stay():
    now = [100.0]
    gate = Gate(1, clock=lambda: now[0])
    leave_after(gate, now, 3.0)
    gate.enter()  # the caller hangs up: nobody hands this one back
    now[0] += 5.9
    assert enter_within(gate, 0.05) is None
    now[0] += 0.2
    assert gate.enter() is not None


def leave_after(gate, now, seconds):
    ticket = gate.enter()
    now[0] += seconds
    leave(ticket)
    while gate._entered:
        time.sleep(0.001)


@pytest.mark.parametrize("ticket", [[1, 1], [-1, -1], [2**62, 5]])
def test_a_ticket_of_nobody_is_no_error(ticket):
    leave(np.array(ticket, np.int64))


def test_a_ticket_that_comes_back_twice_counts_once():
    gate = Gate(2)
    first, _ = gate.enter(), gate.enter()
    leave(first)
    leave(first)
    assert enter_within(gate, 5) is not None
    assert enter_within(gate, 0.2) is None
