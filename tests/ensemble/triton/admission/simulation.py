"""The gate's bookkeeping under simulated load, on a virtual clock: thousands of seconds take milliseconds.

`python -m tests.ensemble.triton.admission.simulation` compares policies for overload and writes the results to
`policies.json` beside it.
"""

import heapq
import itertools
import json
import random
import sys
from pathlib import Path
from statistics import median

from ensemble.triton.admission.overload import Bounds, Overload
from ensemble.triton.admission.places import Places

BOUNDS = Bounds(least_in_work=3, in_work=16, waiting=64)  # of the CPU profiles
RESULT = Path(__file__).with_name("policies.json")
SERVERS = 2  # concurrent instances


class Simulation:
    """Callers, the gate, Triton's queue before `await_turn`, and steps that share the processors.

    Args:
        pace: largest number of answers per second.
        lost: share of the tickets in work that are never returned.
        newest_first: order of the queue; Triton's is first in, first out.
        overload: class that replaces the gate's.
    """

    def __init__(self, pace, *, lost=0.0, newest_first=False, overload=Overload, bounds=BOUNDS, seed=0):
        self.places, self.pace, self.time = Places(bounds, 0.0), pace, 0.0
        self.places._overload = overload(bounds, 0.0)
        self.outcomes = []  # (time sent, time ended, "answered" | "late" | "rejected")
        self.most_inside = 0
        self._lost, self._newest_first, self._random = lost, newest_first, random.Random(seed)
        self._events, self._numbers, self._change = [], itertools.count(1), 0
        self._queue, self._asking, self._work, self._callers = [], None, {}, {}

    def at(self, time, action, *arguments):
        heapq.heappush(self._events, (time, next(self._numbers), action, arguments))

    def call(self, deadline_s, then=None):
        """A caller sends a request, and hangs up after its deadline."""
        number = next(self._numbers)
        self._callers[number] = (self.time, self.time + deadline_s, then)
        if self.places.enter(number, self.time):
            self._queue.append(number)
            self._give_turns()
        else:
            self._end(number, "rejected")

    def run(self, until):
        while self._events and self._events[0][0] <= until:
            time, _, action, arguments = heapq.heappop(self._events)
            self._advance(time)
            action(*arguments)
        self._advance(until)

    def _give_turns(self):
        self.places.give_up(self.time)
        while True:
            if self._asking is None:
                if not self._queue:
                    break
                number = self._queue.pop(-1 if self._newest_first else 0)
                if not self.places.ask(number, "caller", 600.0, self.time):
                    self.places.leave(number, self.time)
                    self._end(number, "rejected")
                    continue
                self._asking = number
            if self.places.next_asking(self.time) is None:
                break
            number, self._asking = self._asking, None
            self._begin(number)
        self.most_inside = max(self.most_inside, len(self.places._inside))
        self._expect_change()

    def _begin(self, number):
        self.places.begin(number, self.time)
        if self.time > self._callers[number][1]:
            self.places.abandon(number, self.time)
            self._end(number, "late")
        elif self._random.random() < self._lost:
            self._end(number, "late")
        else:  # seconds of one processor: mean 2 / pace, coefficient of variation 0.5
            self._work[number] = self._random.gammavariate(4, 1 / 4) * SERVERS / self.pace

    def _finish(self, change, number):
        if change == self._change and number in self._work:
            del self._work[number]
            late = self.time > self._callers[number][1]
            (self.places.abandon if late else self.places.leave)(number, self.time)
            self._end(number, "late" if late else "answered")
            self._give_turns()

    def _end(self, number, outcome):
        sent, deadline, then = self._callers.pop(number)
        self.outcomes.append((sent, self.time, "late" if self.time > deadline else outcome))
        if then:
            then(self.outcomes[-1])

    def _expect_change(self):
        self._change += 1
        if self._work:
            number = min(self._work, key=self._work.get)
            self.at(self.time + self._work[number] / self._share(), self._finish, self._change, number)
        due = self.places.next_change(self.time)
        if due is not None:
            self.at(max(due, self.time) + 0.001, self._tick, self._change)

    def _tick(self, change):
        if change == self._change:
            self._give_turns()

    def _advance(self, time):
        done = (time - self.time) * self._share()
        self._work = {number: left - done for number, left in self._work.items()}
        self.time = time

    def _share(self):
        return min(1.0, SERVERS / len(self._work)) if self._work else 1.0


def overload(pace, deadline_s, *, times=10, seconds=60, seed=0, **options):
    """Send `times` the pace for some time after a calm start; return the results.

    Returns:
        `goodput`: answers in time as a share of the pace; `late`, `rejected`: requests; `rejected_within_s`: median;
        `recovery_s`: after the load, until a request is sent whose answer takes at most twice as long as before.
    """
    simulation, arrivals = Simulation(pace, seed=seed, **options), random.Random(seed + 1)
    for calm in range(10):
        simulation.at(calm * 4 / pace, simulation.call, 600.0)
    begin = 50 / pace
    end, time = begin + seconds, begin
    while time < end:
        simulation.at(time, simulation.call, deadline_s)
        time += arrivals.expovariate(times * pace)
    probes = []

    def probe():
        simulation.call(600.0, lambda outcome: (probes.append(outcome), simulation.at(simulation.time + 0.02, probe)))

    simulation.at(end, probe)
    simulation.run(end + 30)
    calm_s = max(done - sent for sent, done, _ in simulation.outcomes if sent < begin)
    outcomes = [outcome for outcome in simulation.outcomes if begin <= outcome[0] < end and outcome not in probes]
    recovered = [sent for sent, done, what in probes if what == "answered" and done - sent <= 2 * calm_s]
    rejections = [done - sent for sent, done, what in outcomes if what == "rejected"]
    count = {name: sum(what == name for *_, what in outcomes) for name in ("answered", "late", "rejected")}
    return {
        "goodput": round(count["answered"] / seconds / pace, 3),
        "late": count["late"],
        "rejected": count["rejected"],
        "rejected_within_s": round(median(rejections), 3) if rejections else 0.0,
        "recovery_s": round(recovered[0] - end, 2) if recovered else None,
    }


class ByLength(Overload):
    """The queue holds 64 requests at any pace; rejections and hang-ups change nothing."""

    def rejected(self, now):
        pass

    def abandoned(self, waited_s):
        pass

    def in_work(self, now):
        return self._bounds.in_work


class ByDelay(Overload):
    """The queue is limited by a delay of two seconds (as in CoDel); hang-ups change nothing."""

    def abandoned(self, waited_s):
        pass


class ByHangUps(Overload):
    """Only hang-ups change the delay."""

    def rejected(self, now):
        pass


POLICIES = {
    "queue bounded by length (before)": {"overload": ByLength},
    "the same, newest first": {"overload": ByLength, "newest_first": True},
    "delay alone": {"overload": ByDelay},
    "hang-ups alone": {"overload": ByHangUps},
    "delay and hang-ups (chosen)": {},
}
CELLS = [(0.9, 15), (12, 2), (12, 5), (12, 15), (30, 2), (30, 5), (30, 15)]


def main():
    """Compare the policies and write the result file."""
    rows = [
        {"policy": name, "pace": pace, "deadline_s": deadline_s, **overload(pace, deadline_s, **options)}
        for name, options in POLICIES.items()
        for pace, deadline_s in CELLS
    ]
    RESULT.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        print(*row.values(), sep="\t")
    return 0


if __name__ == "__main__":
    sys.exit(main())
