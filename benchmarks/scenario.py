"""Load scenarios: what arrives when, what is in the pictures, and which limits decide the verdict."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from demo.scene import render_scene
from demo.seeds import DEMO

_FILE = Path(__file__).with_name("scenarios.json")
_PICTURES_A_KIND = 3


@dataclass(frozen=True)
class Scenario:
    """One load.

    Attributes:
        name: as on the command line.
        about: one sentence.
        rates_per_s: open loop: (seconds, arrivals a second), one after the other.
        callers: closed loop: so many callers, each waiting for its answer.
        duration_s: of a closed loop.
        people: number of people in a picture -> share of the requests.
        corrupt_share: of the requests whose picture is cut off in the middle; refusing it is the right answer.
        limits: `p99_ms`, `failed_share`; what exceeds one fails the verdict.
    """

    name: str
    about: str
    people: Mapping[str, float]
    limits: Mapping[str, float]
    rates_per_s: tuple[tuple[float, float], ...] = ()
    callers: int = 0
    duration_s: float = 0
    corrupt_share: float = 0.0

    def arrivals(self, seed: int = 0) -> list[float]:
        """Return the arrival times of an open loop in seconds from its start: a Poisson process of the stated rates."""
        random, begin, times = np.random.default_rng(seed), 0.0, list[float]()
        for seconds, rate in self.rates_per_s:
            count = random.poisson(seconds * rate)
            times += sorted((begin + random.uniform(0, seconds, count)).tolist())
            begin += seconds
        return times

    def verdict(self, p99_ms: float, failed_share: float) -> list[str]:
        """Return the limits that were exceeded, one sentence each."""
        measured = {"p99_ms": p99_ms, "failed_share": failed_share}
        return [
            f"{name} is {measured[name]:.3g}, over the limit of {limit}"
            for name, limit in self.limits.items()
            if measured[name] > limit
        ]


@dataclass(frozen=True)
class Picture:
    """An encoded picture, and whether refusing it is right."""

    encoded: bytes
    corrupt: bool = False


@dataclass
class Pictures:
    """Draws pictures by a scenario's mix; rendered once, drawn with a seed."""

    scenario: Scenario
    seed: int = 0
    _rendered: dict[str, list[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Render what the mix needs."""
        self._random = np.random.default_rng(self.seed)
        for people in self.scenario.people:
            seeds = DEMO[:_PICTURES_A_KIND]
            self._rendered[people] = [render_scene(seed, people=int(people)).jpeg for seed in seeds]

    def draw(self) -> Picture:
        """Return the next picture."""
        kinds = list(self.scenario.people)
        kind = self._random.choice(kinds, p=list(self.scenario.people.values()))
        encoded = self._rendered[kind][self._random.integers(_PICTURES_A_KIND)]
        corrupt = bool(self._random.random() < self.scenario.corrupt_share)
        return Picture(encoded[: len(encoded) // 2] if corrupt else encoded, corrupt)


def scenarios() -> dict[str, Scenario]:
    """Return every scenario by name."""
    entries: dict[str, dict[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8"))
    return {name: Scenario(name, **entry) for name, entry in entries.items()}
