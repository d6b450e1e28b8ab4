"""Load scenarios: arrivals, content of the pictures, and the limits for the verdict."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.open_loop import poisson
from synthetic.scene import render_scene
from synthetic.seeds import DEMO

_FILE = Path(__file__).with_name("scenarios.json")
_PICTURES_PER_KIND = 3


@dataclass(frozen=True)
class Scenario:
    """One load.

    Attributes:
        name: name on the command line.
        about: description in one sentence.
        people: number of people in a picture -> share of the requests.
        limits: any of `p99_ms`, `refused_share` (the server's queue was full), `failed_share` (all other errors) and
            `recovered_times` (p95 of the last phase's second half, divided by the first phase's). A value above its
            limit fails the verdict.
        rates: for an open loop, consecutive phases: (seconds, arrival rate as a share of the sustainable rate).
        callers: for a closed loop, the number of callers.
        duration_s: length of a closed loop in seconds.
        sizes: longest side of a picture in pixels -> share of the requests.
        corrupt_share: share of the requests whose picture is truncated; the right answer is a rejection.
    """

    name: str
    about: str
    people: Mapping[str, float]
    limits: Mapping[str, float]
    rates: tuple[tuple[float, float], ...] = ()
    callers: int = 0
    duration_s: float = 0
    sizes: Mapping[str, float] = field(default_factory=lambda: {"640": 1.0})
    corrupt_share: float = 0.0

    def arrivals(self, sustained_per_s: float) -> list[tuple[float, int]]:
        """Return an open loop's arrivals, (seconds from its start, number of its phase); always the same ones.

        Args:
            sustained_per_s: sustainable rate of the server with this mix, in pictures per second.
        """
        begin, arrivals = 0.0, []
        for phase, (seconds, share) in enumerate(self.rates):
            arrivals += [(begin + at, phase) for at in poisson(share * sustained_per_s, seconds, seed=phase)]
            begin += seconds
        return arrivals

    def verdict(self, measured: Mapping[str, float]) -> list[str]:
        """Return one sentence for each limit that was exceeded."""
        return [
            f"{name} is {measured[name]:.3g}, over the limit of {limit}"
            for name, limit in self.limits.items()
            if not measured[name] <= limit  # also when it is NaN: nothing was measured
        ]


@dataclass(frozen=True)
class Picture:
    """An encoded picture, and whether it is truncated."""

    encoded: bytes
    corrupt: bool = False


class Pictures:
    """Draws random pictures from a scenario's mix."""

    def __init__(self, scenario: Scenario, seed: int = 0):
        self._scenario, self._random = scenario, np.random.default_rng(seed)

    def draw(self) -> Picture:
        """Return the next picture."""
        people, side = (self._pick(shares) for shares in (self._scenario.people, self._scenario.sizes))
        encoded = rendered(int(people), int(side), int(self._random.integers(_PICTURES_PER_KIND)))
        corrupt = bool(self._random.random() < self._scenario.corrupt_share)
        return Picture(encoded[: len(encoded) // 2] if corrupt else encoded, corrupt)

    def _pick(self, shares: Mapping[str, float]) -> str:
        return str(self._random.choice(list(shares), p=list(shares.values())))


@cache
def rendered(people: int, side: int, number: int) -> bytes:
    """Return a rendered scene with this number of people as JPEG; its longest side has `side` pixels."""
    jpeg = render_scene(DEMO[number], people=people).jpeg
    image_bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    factor = side / max(image_bgr.shape[:2])
    if factor == 1:
        return jpeg
    resized = cv2.resize(image_bgr, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    return bytes(cv2.imencode(".jpg", resized)[1])


def scenarios() -> dict[str, Scenario]:
    """Return every scenario by name."""
    entries: dict[str, dict[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8"))
    return {name: Scenario(name, **entry) for name, entry in entries.items()}
