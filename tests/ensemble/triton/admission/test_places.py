"""Times are in s; who enters at 100 has ticket 1, 2, ..."""

import pytest

from ensemble.triton.admission.overload import Bounds
from ensemble.triton.admission.places import Patience, Places


def opened(count, waiting, tickets):
    """Return places into which some tickets have entered at 100."""
    places = Places(Bounds(count, count, waiting), now=100.0)
    assert all(places.enter(number, 100.0) for number in range(1, tickets + 1))
    return places


def ask(places, *numbers, now, patience_s=600.0):
    return [places.ask(number, f"asker of {number}", patience_s, now) for number in numbers]


def turns(places, now):
    """Give every turn that there is at a moment; return whose."""
    places.give_up(now)
    begun = []
    while asking := places.next_asking(now):
        places.begin(asking.number, now)
        begun.append(asking.number)
    return begun


def test_as_many_as_there_are_places_work_and_the_next_one_when_one_leaves():
    places = opened(2, waiting=5, tickets=3)
    assert ask(places, 1, 2, 3, now=100) == [True] * 3
    assert turns(places, now=100) == [1, 2]
    assert [places.works(number) for number in (1, 2, 3)] == [True, True, False]
    places.leave(2, now=100.1)
    assert turns(places, now=100.1) == [3]


def test_turns_come_in_the_order_in_which_they_were_asked_for():
    places = opened(1, waiting=5, tickets=3)
    ask(places, 3, 1, 2, now=100)
    order = []
    for _ in range(3):
        order += turns(places, now=100)
        places.leave(order[-1], now=100)
    assert order == [3, 1, 2]


def test_who_asks_is_known_with_the_end_of_its_patience_counted_from_the_entrance():
    places = opened(1, waiting=5, tickets=1)
    ask(places, 1, now=101, patience_s=3)
    assert places.next_asking(101) == (1, "asker of 1", 103)
    assert places.next_asking(101) is None and places.next_change() is None


def test_who_is_too_many_does_not_enter_until_one_leaves():
    places = opened(1, waiting=2, tickets=3)
    assert not places.enter(4, now=100)
    places.leave(2, now=100)
    assert places.enter(5, now=100) and not places.enter(6, now=100)


def test_who_asks_when_its_patience_is_over_waits_for_nothing():
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
    """Let the first three tickets hang up, each found at its turn; return when."""
    now = 100 + waited_s
    for number in (1, 2, 3):
        ask(places, number, now=now)
        assert turns(places, now=now) == [number]
        places.abandon(number, now=now)
    return now


@pytest.mark.parametrize(("waited_s", "still_wanted"), [(0.2, True), (0.3, False)])
def test_hang_ups_count_by_how_long_they_had_waited(waited_s, still_wanted):
    places = opened(1, waiting=9, tickets=9)
    hang_ups(places, waited_s)
    assert ask(places, 4, now=104) == [still_wanted]


def test_lost_tickets_that_had_not_waited_are_no_hang_ups():
    places = opened(3, waiting=9, tickets=9)
    ask(places, 1, 2, 3, 4, now=100)
    assert turns(places, now=100) == [1, 2, 3]
    assert turns(places, now=110.1) == [4], "they are lost"
    assert ask(places, 5, now=110.1) == [True]


def test_an_overload_ends_while_requests_are_worked_on():
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


def test_patience_is_twice_the_longest_of_the_last_ones_within_bounds():
    patience = Patience(first_s=10, least_s=1, most_s=15)
    assert patience.seconds == 10
    seconds = []
    for took_s in [0.1, 3.0, 2.0, 9.0] + 31 * [0.2] + [0.2]:
        patience.learn(took_s)
        seconds.append(patience.seconds)
    assert seconds[:4] == [1, 6, 6, 15] and seconds[-2:] == [15, 1], "the last 32 count"


def test_a_lost_ticket_in_work_is_not_waited_for_longer_than_twice_the_longest_stay():
    places = opened(1, waiting=5, tickets=3)
    ask(places, 1, 2, 3, now=100)
    assert turns(places, now=100) == [1]
    places.leave(1, now=103)
    assert turns(places, now=103) == [2]  # its process dies: nobody hands this one back
    assert places.next_change() == 109
    assert turns(places, now=109) == []
    assert turns(places, now=109.1) == [3]


def test_before_anybody_came_back_the_first_request_may_take_ten_seconds():
    places = opened(1, waiting=5, tickets=2)
    ask(places, 1, 2, now=100)
    turns(places, now=100)
    assert turns(places, now=110) == []
    assert turns(places, now=110.1) == [2]


def test_a_lost_ticket_that_never_asks_holds_no_place_once_later_ones_ask():
    places = opened(2, waiting=0, tickets=1)  # its caller hangs up between two steps
    assert places.enter(2, now=100.9)
    ask(places, 2, now=101)
    assert not places.enter(3, now=101), "it may have been overtaken"
    places.leave(2, now=101)
    assert places.enter(4, now=101.1)
    ask(places, 4, now=101.1)
    assert places.enter(5, now=101.1) and not places.enter(6, now=101.1)


def test_a_full_queue_of_lost_tickets_does_not_shut_the_gate_for_good():
    """The process that decodes has died with all that waited for it."""
    places = opened(1, waiting=9, tickets=10)
    assert not places.enter(11, now=110)
    assert places.enter(11, now=110.1)


def test_while_some_get_their_turn_nobody_behind_them_is_given_up():
    places = opened(1, waiting=2, tickets=3)
    ask(places, 1, now=105)
    turns(places, now=105)
    assert not places.enter(4, now=110.1)


def test_who_works_or_asks_counts_however_old_the_ticket():
    places = opened(1, waiting=2, tickets=2)
    ask(places, 1, 2, now=100)
    turns(places, now=100)
    assert places.enter(3, now=103)
    ask(places, 3, now=103)
    assert not places.enter(4, now=103)


def test_who_waits_behind_one_that_asks_is_not_given_up():
    places = opened(1, waiting=3, tickets=4)
    ask(places, 1, 2, 3, now=100)
    turns(places, now=100)
    places.leave(1, now=100)
    assert turns(places, now=100) == [2]
    assert places.enter(5, now=100) and not places.enter(6, now=100)
    assert places.enter(6, now=101.1), "the second is lost"
    assert not places.enter(7, now=101.1), "the fourth and the fifth have not asked yet"


@pytest.mark.parametrize("come_back", ["leave", "resume"])
def test_a_late_ticket_that_comes_back_gives_the_next_ones_more_time(come_back):
    places = opened(1, waiting=5, tickets=4)
    ask(places, 1, 2, 3, 4, now=100)
    turns(places, now=100)
    places.leave(1, now=100)
    assert turns(places, now=100) == [2]
    assert turns(places, now=101.1) == [3], "the second is believed lost"
    getattr(places, come_back)(2, now=103)
    places.leave(2, now=103)
    places.leave(3, now=103)
    assert turns(places, now=103) == [4]
    ask(places, 5, now=103)
    assert turns(places, now=109) == [], "twice the 3 s of the slow one are not over"
    assert turns(places, now=109.1) == [5]


def test_where_everything_stands_still_places_are_given_away_ever_more_seldom_but_at_least_every_15_s():
    places = opened(1, waiting=9, tickets=8)
    ask(places, *range(1, 9), now=100)
    turns(places, now=100)
    places.leave(1, now=100)
    given_away = [half_s / 2 for half_s in range(200) if turns(places, now=100 + half_s / 2)]
    assert given_away == [0, 1.5, 5, 12.5, 28, 43.5, 59]


def test_one_that_is_lost_among_others_that_come_back_teaches_nothing():
    places = opened(2, waiting=9, tickets=5)
    ask(places, *range(1, 6), now=100)
    turns(places, now=100)
    places.leave(1, now=100.1)
    assert turns(places, now=100.1) == [3]
    assert turns(places, now=101.05) == [4]
    assert turns(places, now=101.2) == [5], "the third had one second, too"


def test_a_ticket_whose_work_pauses_has_ended_unless_it_goes_on_soon():
    places = opened(1, waiting=5, tickets=3)
    ask(places, 1, 2, 3, now=100)
    turns(places, now=100)
    places.pause(1, now=100)
    assert places.next_change() == 100.5
    assert turns(places, now=100.5) == [], "it may go on"
    assert turns(places, now=100.6) == [2]
    places.pause(2, now=100.6)
    places.resume(2, now=100.8)
    assert turns(places, now=101.5) == [], "it went on"
    places.leave(2, now=101.5)
    assert turns(places, now=101.5) == [3]


def test_pauses_may_be_twice_as_long_as_they_lately_were():
    places = opened(1, waiting=5, tickets=2)
    ask(places, 1, 2, now=100)
    turns(places, now=100)
    places.pause(1, now=100)
    places.resume(1, now=100.05)
    places.pause(1, now=100.1)
    assert turns(places, now=100.19) == []
    assert turns(places, now=100.21) == [2]


def test_a_ticket_that_goes_on_after_its_place_was_given_away_takes_one_again_and_teaches():
    places = opened(1, waiting=5, tickets=3)
    ask(places, 1, 2, 3, now=100)
    turns(places, now=100)
    places.pause(1, now=100)
    assert turns(places, now=100.6) == [2]
    assert places.next_change() == 101.6, "when the second may be lost"
    places.resume(1, now=100.7)
    places.leave(2, now=100.7)
    assert turns(places, now=100.7) == [], "it works"
    places.pause(1, now=100.7)
    assert turns(places, now=101.6) == [], "a pause may now be twice 0.7 s"
    places.leave(1, now=101.6)
    assert turns(places, now=101.6) == [3]


def test_a_ticket_that_went_on_and_is_lost_then_holds_no_place():
    places = opened(1, waiting=5, tickets=3)
    ask(places, 1, 2, 3, now=100)
    turns(places, now=100)
    assert turns(places, now=110.1) == [2]
    places.leave(2, now=110.1)
    places.resume(1, now=110.1)
    assert turns(places, now=125.1) == [], "a stay may take 15 s"
    assert turns(places, now=125.2) == [3]


def test_as_many_ended_pauses_are_remembered_as_tickets_may_be_inside():
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
    assert turns(places, now=101.8) == [4], "the first one's long pause taught nothing"


def test_a_pause_in_no_work_is_nothing():
    places = opened(1, waiting=5, tickets=2)
    places.pause(1, now=100)
    ask(places, 1, 2, now=100)
    assert turns(places, now=100) == [1]
    assert turns(places, now=101) == []


def test_who_asks_without_a_ticket_costs_nobody_theirs():
    places = opened(1, waiting=2, tickets=3)
    ask(places, 99, now=101.5)
    assert not places.enter(4, now=101.5)


def test_a_ticket_given_up_too_early_may_still_ask():
    places = opened(1, waiting=0, tickets=1)
    assert places.enter(2, now=110.1)
    assert ask(places, 1, now=110.2) == [True]
    assert turns(places, now=110.2) == [1]
    places.leave(2, now=110.2)
    assert not places.enter(3, now=110.2), "it counts again"
