"""The requests of a load test, one by one, and what they come to."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS = ("due_s", "latency_ms", "outcome", "phase")
_PERCENTILES = (50, 95, 99)


class Outcome(Enum):
    """How a request ended."""

    ANSWERED = "answered"
    CORRUPT = "corrupt"  # a picture that is cut off was refused, which is right
    REFUSED = "refused"  # the server's queue was full
    FAILED = "failed"


@dataclass(frozen=True)
class Sample:
    """One request: when it was due, how long after that it ended and how, and the phase of the scenario."""

    due_s: float
    latency_ms: float
    outcome: Outcome
    phase: int


def read(path: Path) -> list[Sample]:
    """Return the requests that locust wrote down, in the order in which they were due, the first one at 0."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            (float(row["due_s"]), float(row["latency_ms"]), Outcome(row["outcome"]), int(row["phase"]))
            for row in csv.DictReader(file)
        ]
    first = min((row[0] for row in rows), default=0.0)
    return [Sample(due - first, *rest) for due, *rest in rows]  # type: ignore[arg-type]


def summary(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return counts, shares, percentiles of what was answered, and how the end compares with the beginning."""
    counts = {outcome.value: sum(it.outcome is outcome for it in samples) for outcome in Outcome}
    requests = max(len(samples), 1)
    return {
        "requests": len(samples),
        "outcomes": counts,
        "refused_share": counts["refused"] / requests,
        "failed_share": counts["failed"] / requests,
        **_percentiles(samples),
        "recovered_times": _recovered(samples),
    }


def _recovered(samples: Sequence[Sample]) -> float:
    """p95 of the last phase's second half, in times of the first phase's; NaN with a single phase."""
    last = samples[-1].phase if samples else 0
    if not last:
        return math.nan
    final = [it for it in samples if it.phase == last]
    middle = (final[0].due_s + final[-1].due_s) / 2
    end = _percentiles([it for it in final if it.due_s >= middle])["p95_ms"]
    return end / _percentiles([it for it in samples if it.phase == 0])["p95_ms"]


def _percentiles(samples: Sequence[Sample]) -> dict[str, float]:
    """Latencies of what was answered; NaN when nothing was."""
    answered = [it.latency_ms for it in samples if it.outcome is Outcome.ANSWERED]
    return {f"p{it}_ms": float(np.percentile(answered, it)) if answered else math.nan for it in _PERCENTILES}
