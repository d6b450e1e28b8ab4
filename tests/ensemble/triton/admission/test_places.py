"""Times are in seconds. The tickets that enter at 100 are 1, 2, ..."""

import pytest

from ensemble.triton.admission.overload import Bounds
from ensemble.triton.admission.places import Patience, Places


def opened(count, waiting, tickets):
    """Return places with this number of tickets, which entered at 100."""
    places = Places(Bounds(count, count, waiting), now=100.0)
    assert all(places.enter(number, 100.0) for number in range(1, tickets + 1))
    return places


def ask(places, *numbers, now, patience_s=600.0):
    return [places.ask(number, f"asker of {number}", patience_s, now) for number in numbers]


def turns(places, now):
    """Give all turns that are possible now; return the tickets."""
    places.give_up(now)
    begun = []
    while asking := places.next_asking(now):
        places.begin(asking.number, now)
        begun.append(asking.number)
    return begun


def test_the_next_ticket_works_when_one_leaves():
    places = opened(2, waiting=5, tickets=3)
    assert ask(places, 1, 2, 3, now=100) == [True] * 3
    assert turns(places, now=100) == [1, 2]
    assert [places.works(number) for number in (1, 2, 3)] == [True, True, False]
    places.leave(2, now=100.1)
    assert turns(places, now=100.1) == [3]


def test_turns_are_given_in_the_order_of_asking():
    places = opened(1, waiting=5, tickets=3)
    ask(places, 3, 1, 2, now=100)
    order = []
    for _ in range(3):
        order += turns(places, now=100)
        places.leave(order[-1], now=100)
    assert order == [3, 1, 2]


def test_the_wait_of_a_ticket_expires_from_its_admission_on():
    places = opened(1, waiting=5, tickets=1)
    ask(places, 1, now=101, patience_s=3)
    assert places.next_asking(101) == (1, "asker of 1", 103)
    assert places.next_asking(101) is None and places.next_change(101) is None


def test_a_full_queue_rejects_until_a_ticket_leaves():
    places = opened(1, waiting=2, tickets=3)
    assert not places.enter(4, now=100)
    places.leave(2, now=100)
    assert places.enter(5, now=100) and not places.enter(6, now=100)


def test_a_ticket_that_asks_too_late_is_rejected():
    places = opened(1, waiting=5, tickets=2)
    assert ask(places, 1, now=102.1, patience_s=2) == [False]
    assert ask(places, 2, now=101.9, patience_s=2) == [True]
    assert turns(places, now=102.1) == [2]


def test_a_ticket_that_leaves_while_it_asks_gets_no_turn():
    places = opened(1, waiting=5, tickets=2)
    ask(places, 1, 2, now=100)
    places.leave(1, now=100)
    assert turns(places, now=100) == [2]


def test_a_ticket_that_is_abandoned_while_it_asks_gets_no_turn():
    places = opened(1, waiting=1, tickets=2)
    ask(places, 1, 2, now=100)
    places.abandon(1, now=100)
    assert turns(places, now=100) == [2]
    assert places.enter(3, now=100) and not places.enter(4, now=100)


def hang_ups(places, waited_s):
    """Let the callers of the first three tickets hang up, each detected at its turn; return the time."""
    now = 100 + waited_s
    for number in (1, 2, 3):
        ask(places, number, now=now)
        assert turns(places, now=now) == [number]
        places.abandon(number, now=now)
    return now


@pytest.mark.parametrize(("waited_s", "still_wanted"), [(0.2, True), (0.3, False)])
def test_hang_ups_count_if_they_had_waited_long_enough(waited_s, still_wanted):
    places = opened(1, waiting=9, tickets=9)
    hang_ups(places, waited_s)
    assert ask(places, 4, now=104) == [still_wanted]


def test_lost_tickets_that_had_not_waited_do_not_count_as_hang_ups():
    places = opened(3, waiting=9, tickets=9)
    ask(places, 1, 2, 3, 4, now=100)
    assert turns(places, now=100) == [1, 2, 3]
    assert turns(places, now=110.1) == [4], "they are lost"
    assert ask(places, 5, now=110.1) == [True]


def test_an_overload_ends_while_requests_are_in_work():
    places = opened(1, waiting=9, tickets=3)
    now = hang_ups(places, 1)
    assert places.enter(4, now + 0.1)
    ask(places, 4, now=now + 0.1)
    assert turns(places, now=now + 0.1) == [4]
    assert places.enter(5, now + 2)
    assert ask(places, 5, now=now + 6) == [True]


def test_a_ticket_that_comes_back_twice_counts_once():
    places = opened(1, waiting=1, tickets=2)
    places.leave(1, now=100)
    places.leave(1, now=100)
    assert places.enter(3, now=100) and not places.enter(4, now=100)


def test_the_timeout_is_twice_the_longest_of_the_last_within_bounds():
    patience = Patience(first_s=10, least_s=1, most_s=15)
    assert patience.seconds == 10
    seconds = []
    for took_s in [0.1, 3.0, 2.0, 9.0] + 31 * [0.2] + [0.2]:
        patience.learn(took_s)
        seconds.append(patience.seconds)
    assert seconds[:4] == [1, 6, 6, 15] and seconds[-2:] == [15, 1], "the last 32 count"


def test_a_lost_ticket_is_written_off_after_twice_the_longest_stay():
    places = opened(1, waiting=5, tickets=3)
    ask(places, 1, 2, 3, now=100)
    assert turns(places, now=100) == [1]
    places.leave(1, now=103)
    assert turns(places, now=103) == [2]  # its process dies, so it is never returned
    assert places.next_change(101) == 109
    assert turns(places, now=109) == []
    assert turns(places, now=109.1) == [3]


def test_the_first_request_may_take_ten_seconds():
    places = opened(1, waiting=5, tickets=2)
    ask(places, 1, 2, now=100)
    turns(places, now=100)
    assert turns(places, now=110) == []
    assert turns(places, now=110.1) == [2]


def test_a_ticket_that_never_asks_is_dropped_when_later_ones_ask():
    places = opened(2, waiting=0, tickets=1)  # its caller hangs up between two steps
    assert places.enter(2, now=100.9)
    ask(places, 2, now=101)
    assert not places.enter(3, now=101), "it may have been overtaken"
    places.leave(2, now=101)
    assert places.enter(4, now=101.1)
    ask(places, 4, now=101.1)
    assert places.enter(5, now=101.1) and not places.enter(6, now=101.1)


def test_a_queue_full_of_lost_tickets_empties_again():
    """The decoding process has died with all the requests in its queue."""
    places = opened(1, waiting=9, tickets=10)
    assert not places.enter(11, now=110)
    assert places.enter(11, now=110.1)


def test_tickets_behind_served_ones_are_not_written_off():
    places = opened(1, waiting=2, tickets=3)
    ask(places, 1, now=105)
    turns(places, now=105)
    assert not places.enter(4, now=110.1)


def test_working_and_asking_tickets_count_at_any_age():
    places = opened(1, waiting=2, tickets=2)
    ask(places, 1, 2, now=100)
    turns(places, now=100)
    assert places.enter(3, now=103)
    ask(places, 3, now=103)
    assert not places.enter(4, now=103)


def test_tickets_behind_an_asking_one_are_not_written_off():
    places = opened(1, waiting=3, tickets=4)
    ask(places, 1, 2, 3, now=100)
    turns(places, now=100)
    places.leave(1, now=100)
    assert turns(places, now=100) == [2]
    assert places.enter(5, now=100) and not places.enter(6, now=100)
    assert places.enter(6, now=101.1), "the second is lost"
    assert not places.enter(7, now=101.1), "the fourth and the fifth have not asked yet"


@pytest.mark.parametrize("come_back", ["leave", "resume"])
def test_a_late_ticket_that_returns_raises_the_timeout(come_back):
    places = opened(1, waiting=5, tickets=4)
    ask(places, 1, 2, 3, 4, now=100)
    turns(places, now=100)
    places.leave(1, now=100)
    assert turns(places, now=100) == [2]
    assert turns(places, now=101.1) == [3], "the second was written off"
    getattr(places, come_back)(2, now=103)
    places.leave(2, now=103)
    places.leave(3, now=103)
    assert turns(places, now=103) == [4]
    ask(places, 5, now=103)
    assert turns(places, now=109) == [], "twice the 3 s of the slow one are not over"
    assert turns(places, now=109.1) == [5]


def test_lost_tickets_expire_within_15_s():
    places = opened(1, waiting=9, tickets=8)
    ask(places, *range(1, 9), now=100)
    turns(places, now=100)
    places.leave(1, now=100)
    expired = [half_s / 2 for half_s in range(200) if turns(places, now=100 + half_s / 2)]
    assert expired == [0, 1.5, 5, 12.5, 28, 43.5, 59]


def test_a_single_lost_ticket_does_not_raise_the_timeout():
    places = opened(2, waiting=9, tickets=5)
    ask(places, *range(1, 6), now=100)
    turns(places, now=100)
    places.leave(1, now=100.1)
    assert turns(places, now=100.1) == [3]
    assert turns(places, now=101.05) == [4]
    assert turns(places, now=101.2) == [5], "the third had one second, too"


def test_a_paused_ticket_ends_unless_it_resumes_soon():
    places = opened(1, waiting=5, tickets=3)
    ask(places, 1, 2, 3, now=100)
    turns(places, now=100)
    places.pause(1, now=100)
    assert places.next_change(100) == 100.5
    assert turns(places, now=100.5) == [], "it may go on"
    assert turns(places, now=100.6) == [2]
    places.pause(2, now=100.6)
    places.resume(2, now=100.8)
    assert turns(places, now=101.5) == [], "it went on"
    places.leave(2, now=101.5)
    assert turns(places, now=101.5) == [3]


def test_a_pause_may_be_twice_as_long_as_the_last_ones():
    places = opened(1, waiting=5, tickets=2)
    ask(places, 1, 2, now=100)
    turns(places, now=100)
    places.pause(1, now=100)
    places.resume(1, now=100.05)
    places.pause(1, now=100.1)
    assert turns(places, now=100.19) == []
    assert turns(places, now=100.21) == [2]


def test_a_written_off_ticket_that_resumes_raises_the_timeout():
    places = opened(1, waiting=5, tickets=3)
    ask(places, 1, 2, 3, now=100)
    turns(places, now=100)
    places.pause(1, now=100)
    assert turns(places, now=100.6) == [2]
    assert places.next_change(100.5) == 101.6, "when the second may be lost"
    places.resume(1, now=100.7)
    places.leave(2, now=100.7)
    assert turns(places, now=100.7) == [], "it works"
    places.pause(1, now=100.7)
    assert turns(places, now=101.6) == [], "a pause may now be twice 0.7 s"
    places.leave(1, now=101.6)
    assert turns(places, now=101.6) == [3]


def test_a_resumed_ticket_that_is_lost_frees_its_place():
    places = opened(1, waiting=5, tickets=3)
    ask(places, 1, 2, 3, now=100)
    turns(places, now=100)
    assert turns(places, now=110.1) == [2]
    places.leave(2, now=110.1)
    places.resume(1, now=110.1)
    assert turns(places, now=125.1) == [], "a stay may take 15 s"
    assert turns(places, now=125.2) == [3]


def test_ended_pauses_are_limited_to_the_number_of_tickets():
    places = opened(1, waiting=0, tickets=1)
    ask(places, 1, 2, 3, now=100)
    turns(places, now=100)
    places.pause(1, now=100)
    assert turns(places, now=100.6) == [2]
    places.pause(2, now=100.6)
    assert turns(places, now=101.2) == [3]
    places.leave(3, now=101.2)
    places.resume(1, now=101.2)
    ask(places, 4, now=101.2)
    places.pause(1, now=101.2)
    assert turns(places, now=101.8) == [4], "the long pause of the first one did not raise the timeout"


def test_a_pause_of_a_ticket_not_in_work_is_ignored():
    places = opened(1, waiting=5, tickets=2)
    places.pause(1, now=100)
    ask(places, 1, 2, now=100)
    assert turns(places, now=100) == [1]
    assert turns(places, now=101) == []


def test_asking_without_a_ticket_affects_no_other_ticket():
    places = opened(1, waiting=2, tickets=3)
    ask(places, 99, now=101.5)
    assert not places.enter(4, now=101.5)


def test_a_ticket_written_off_too_early_may_still_ask():
    places = opened(1, waiting=0, tickets=1)
    assert places.enter(2, now=110.1)
    assert ask(places, 1, now=110.2) == [True]
    assert turns(places, now=110.2) == [1]
    places.leave(2, now=110.2)
    assert not places.enter(3, now=110.2), "it counts again"


def test_lost_tickets_in_work_do_not_stop_the_queue():
    """A step's process dies, and with it all that is in work; one long stay before that is no reason to wait."""
    places = Places(Bounds(least_in_work=2, in_work=4, waiting=20), 100.0)
    for number in range(1, 15):
        places.enter(number, 100.0)
    ask(places, *range(1, 15), now=100)
    assert turns(places, now=100) == [1, 2]
    places.leave(1, now=105)  # so a ticket is written off after ten seconds
    places.leave(2, now=105)
    for first in range(3, 9, 2):
        assert turns(places, now=105 + first) == [first, first + 1]
        places.leave(first, now=105.2 + first)
        places.leave(first + 1, now=105.2 + first)
    assert turns(places, now=113) == [9, 10]  # lost
    assert turns(places, now=113.7) == [], "four times the usual time are not over"
    assert turns(places, now=places.next_change(113.7) + 0.01) == [11, 12]
    assert turns(places, now=115) == [], "never more than four in work"
