"""The gate under overload, simulated; the same on real servers is in tests/reliability/test_overload.py."""

import random
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensemble.triton.admission.overload import Bounds, Overload
from tests.ensemble.triton.admission.simulation import BOUNDS, CELLS, Simulation, overload


@pytest.mark.parametrize(("pace", "deadline_s"), CELLS)
def test_answers_in_time_under_ten_times_the_load(pace, deadline_s):
    found = overload(pace, deadline_s)
    assert found["goodput"] >= 0.85
    assert found["rejected_within_s"] <= 0.1
    assert found["recovery_s"] <= 3


def test_lost_tickets_cost_little():
    assert overload(12, 5, lost=0.05)["goodput"] >= 0.85


@pytest.mark.parametrize("pace", [3.5, 12, 60])
def test_64_patient_callers_in_a_loop_are_never_rejected(pace):
    simulation = Simulation(pace)

    def call():
        simulation.call(30.0, lambda _: simulation.at(simulation.time + 0.001, call))

    for _ in range(64):
        simulation.at(0, call)
    simulation.run(100)
    assert {what for *_, what in simulation.outcomes} == {"answered"}
    waits = [done - sent for sent, done, _ in simulation.outcomes]
    assert max(waits) <= 3 * median(waits)
    assert len(waits) >= 0.95 * 100 * pace


@pytest.mark.parametrize("pace", [2.5, 12, 300])
def test_a_burst_of_64_on_an_idle_server_is_answered_whole(pace):
    simulation = Simulation(pace)
    for _ in range(64):
        simulation.at(1, simulation.call, 30.0)
    simulation.run(60)
    assert [what for *_, what in simulation.outcomes] == ["answered"] * 64


@pytest.mark.parametrize("light_per_s", [0, 0.5, 5])
def test_a_server_is_calm_again_under_a_light_load(light_per_s):
    simulation, arrivals, time = Simulation(12), random.Random(0), 0.0
    while time < 20:
        simulation.at(time, simulation.call, 5.0)
        time += arrivals.expovariate(120)
    while light_per_s and time < 30:
        simulation.at(time, simulation.call, 30.0)
        time += arrivals.expovariate(light_per_s)
    simulation.run(30)
    before = len(simulation.outcomes)
    for _ in range(64):
        simulation.at(30.1, simulation.call, 30.0)
    simulation.run(60)
    assert {what for *_, what in simulation.outcomes[before:]} == {"answered"}


def test_the_order_is_first_in_first_out_without_hang_ups():
    simulation = Simulation(12, bounds=Bounds(1, 1, 64))
    for number in range(40):
        simulation.at(number * 0.01, simulation.call, 30.0)
    simulation.run(60)
    assert [sent for sent, *_ in simulation.outcomes] == sorted(sent for sent, *_ in simulation.outcomes)


@pytest.mark.parametrize("deadline_s", [5, 15])
def test_a_tenfold_change_of_the_pace_is_followed(deadline_s):
    simulation, arrivals, time = Simulation(30), random.Random(0), 0.0
    while time < 120:
        simulation.at(time, simulation.call, deadline_s)
        time += arrivals.expovariate(100)
    for moment, pace in ((40, 3), (80, 30)):
        simulation.at(moment, setattr, simulation, "pace", pace)
    simulation.run(140)
    for begin, end, pace in ((10, 40, 30), (55, 80, 3), (90, 120, 30)):
        answered = sum(begin <= done < end and what == "answered" for _, done, what in simulation.outcomes)
        assert answered >= 0.85 * pace * (end - begin)


@given(
    calls=st.lists(st.tuples(st.floats(0, 20), st.sampled_from([0.05, 0.5, 2.0, 30.0])), max_size=300),
    pace=st.sampled_from([0.9, 5.0, 40.0]),
    lost=st.sampled_from([0.0, 0.1, 1.0]),
    seed=st.integers(0, 5),
)
@settings(max_examples=30)
def test_the_bounds_hold_and_every_ticket_ends(calls, pace, lost, seed):
    simulation = Simulation(pace, lost=lost, seed=seed)
    for time, deadline_s in calls:
        simulation.at(time, simulation.call, deadline_s)
    simulation.run(1000)
    assert len(simulation.outcomes) == len(calls), "every call ends"
    assert simulation.most_inside <= BOUNDS.in_work + BOUNDS.waiting
    simulation.places.give_up(2000)
    places = simulation.places
    assert not any((places._inside, places._asking, places._working, places._given, places._alone))


def queued(overload, now, answers=8, pace=10.0):
    """Let requests queue from `now` on, with as many answers at a pace; return the time after the last."""
    overload.queue_is(5, now)
    for number in range(1, answers + 1):
        overload.answered(now + number / pace, None)
    return now + answers / pace


def test_a_queue_that_is_full_for_a_second_is_bounded_by_its_delay():
    overload = Overload(BOUNDS, 0.0)
    now = queued(overload, 0.0)
    overload.rejected(now)
    overload.rejected(now + 0.9)
    assert overload.inside(now) == 80 and not overload.too_old(60, now)
    overload.rejected(now + 1.0)
    assert overload.inside(now) == 20, "two seconds at 10 a second"
    assert overload.too_old(3.2, now) and not overload.too_old(3.0, now)


def test_three_hang_ups_start_an_overload_and_shorten_the_queue():
    overload = Overload(BOUNDS, 0.0)
    now = queued(overload, 0.0)
    overload.abandoned(1.0)
    overload.abandoned(1.0)
    assert overload.inside(now) == 80
    overload.abandoned(1.0)
    assert overload.inside(now) == 8
    overload.abandoned(1.0)
    assert overload.inside(now) == 6


def test_the_least_wait_of_a_hang_up_is_a_quarter_of_a_second():
    overload = Overload(BOUNDS, 0.0)
    now = queued(overload, 0.0)
    for _ in range(3):
        overload.abandoned(0.25)
    assert overload.inside(now) == 3 + 1, "one more than in work, although 0.25 s times 0.8 at 10 a second are 2"


def test_one_hang_up_does_not_end_an_overload():
    overload = Overload(BOUNDS, 0.0)
    now = queued(overload, 0.0)
    overload.rejected(now - 1)
    overload.rejected(now)
    overload.abandoned(2.0)
    assert overload.inside(now) == 16


def test_an_overloaded_queue_has_room_for_one_slow_request():
    overload = Overload(BOUNDS, 0.0)
    now = queued(overload, 0.0, pace=0.1)
    overload.rejected(now - 1)
    overload.rejected(now)
    assert overload.inside(now) == 3 + 1
    assert overload.too_old(13.1, now) and not overload.too_old(12.9, now), "1.5 times 2 s, and 10 s of an answer"


def test_an_overloaded_slow_network_has_as_many_inside_as_keep_it_busy_and_one():
    overload = Overload(BOUNDS, 0.0)
    for _ in range(8):
        overload.answered(0.0, 2.0)  # two seconds alone
    now = queued(overload, 0.0, pace=1.0)
    overload.rejected(now - 1)
    overload.rejected(now)
    assert overload.inside(now) == 2 + 1, "1 a second times 2 s are 2 busy ones; the queue of 2 s would be 2"
    fast = Overload(BOUNDS, 0.0)
    for _ in range(8):
        fast.answered(0.0, 0.4)
    now = queued(fast, 0.0, pace=1.0)
    fast.rejected(now - 1)
    fast.rejected(now)
    assert fast.inside(now) == 2, "2 s at 1 a second"


def test_without_a_known_pace_the_delay_decides():
    overload = Overload(BOUNDS, 0.0)
    overload.queue_is(5, 0.0)
    overload.rejected(0.0)
    overload.rejected(1.0)
    assert overload.inside(1.0) == 80
    assert overload.too_old(3.1, 1.0) and not overload.too_old(2.9, 1.0)


def test_the_pace_is_that_of_the_last_32_answers():
    overload = Overload(BOUNDS, 0.0)
    now = queued(overload, 0.0, answers=100, pace=50.0)
    for _ in range(32):
        now += 0.1
        overload.answered(now, None)
    overload.rejected(now - 1)
    overload.rejected(now)
    assert overload.inside(now) == 21, "32 in 3.1 s, times two seconds"
    assert overload.inside(now + 3.1) == 10, "none for as long"


def test_the_time_alone_is_that_of_the_last_32():
    overload = Overload(BOUNDS, 0.0)
    for took_s in [2.0] * 100 + [0.5] * 32:
        overload.answered(0.0, took_s)
    assert overload.in_work(queued(overload, 0.0, answers=16, pace=8.0)) == 6


@pytest.mark.parametrize("waited_s", [0.0, 0.2])
def test_hang_ups_without_a_wait_are_ignored(waited_s):
    overload = Overload(BOUNDS, 0.0)
    now = queued(overload, 0.0)
    for _ in range(9):
        overload.abandoned(waited_s)
    assert overload.inside(now) == 80


def test_a_queue_that_is_empty_for_a_second_is_calm_again():
    overload = Overload(BOUNDS, 0.0)
    now = queued(overload, 0.0)
    for _ in range(5):
        overload.abandoned(1.0)
    overload.queue_is(0, now)
    overload.queue_is(0, now + 0.9)
    assert overload.too_old(5, now)
    overload.queue_is(0, now + 1.1)
    assert not overload.too_old(5, now)


def test_the_number_in_work_follows_littles_law_within_its_bounds():
    overload = Overload(BOUNDS, 0.0)
    assert overload.in_work(0.0) == 3, "before anything is known"
    for _ in range(8):
        overload.answered(0.0, 0.5)  # half a second alone
    now = queued(overload, 0.0, answers=16, pace=8.0)
    assert overload.in_work(now) == 6, "1.5 times 8 a second times 0.5 s"
    now = queued(Overload(BOUNDS, 0.0), 0.0, answers=16, pace=1.0)
    assert overload.in_work(now + 100) == 3
    fast = Overload(BOUNDS, 0.0)
    for _ in range(8):
        fast.answered(0.0, 0.5)
    assert fast.in_work(queued(fast, 0.0, answers=16, pace=100.0)) == 16


def test_a_tenth_of_a_second_of_work_is_always_allowed():
    overload = Overload(BOUNDS, 0.0)
    for _ in range(8):
        overload.answered(0.0, 0.01)
    assert overload.in_work(queued(overload, 0.0, answers=16, pace=100.0)) == 10, "Little's law alone asks for 2"


def test_the_number_in_work_keeps_the_last_pace_while_nothing_queues():
    overload = Overload(BOUNDS, 0.0)
    now = queued(overload, 0.0, answers=16, pace=100.0)
    overload.queue_is(0, now)
    assert overload.in_work(now + 60) == 10
    overload.queue_is(1, now + 60)
    overload.queue_is(0, now + 60.1)
    assert overload.in_work(now + 61) == 10, "too few answers for another pace"
    queued(overload, now + 62, answers=16, pace=50.0)
    overload.queue_is(0, now + 62.32)
    assert overload.in_work(now + 63) == 5
