"""The requests of a load test, one by one, and their statistics."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

_PERCENTILES = (50, 95, 99)


class Outcome(Enum):
    """How a request ended."""

    ANSWERED = "answered"
    CORRUPT = "corrupt"  # a truncated picture was rejected, as it should be
    REFUSED = "refused"  # the server's queue was full
    FAILED = "failed"


@dataclass(frozen=True)
class Sample:
    """One request.

    Attributes:
        due_s: when it was due, in seconds from the first one.
        latency_ms: time from then to its end.
        outcome: how it ended.
        phase: number of the scenario's phase.
    """

    due_s: float
    latency_ms: float
    outcome: Outcome
    phase: int


def read(path: Path) -> list[Sample]:
    """Return the requests that `locustfile.py` recorded, in the order in which they were due."""
    rows: list[tuple[float, float, str, int]] = sorted(json.loads(path.read_text(encoding="utf-8")))
    return [Sample(due - rows[0][0], latency, Outcome(outcome), phase) for due, latency, outcome, phase in rows]


def summary(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return counts, shares, percentiles of the answered requests, and the recovery at the end."""
    counts = {outcome.value: sum(sample.outcome is outcome for sample in samples) for outcome in Outcome}
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
    """Return the p95 of the last phase's second half, divided by the first phase's; NaN with a single phase."""
    last = samples[-1].phase if samples else 0
    if not last:
        return math.nan
    final = [sample for sample in samples if sample.phase == last]
    middle = (final[0].due_s + final[-1].due_s) / 2
    end = _percentiles([sample for sample in final if sample.due_s >= middle])["p95_ms"]
    return end / _percentiles([sample for sample in samples if sample.phase == 0])["p95_ms"]


def _percentiles(samples: Sequence[Sample]) -> dict[str, float]:
    """Return the latencies of the answered requests; NaN without any."""
    answered = [sample.latency_ms for sample in samples if sample.outcome is Outcome.ANSWERED]
    return {f"p{each}_ms": float(np.percentile(answered, each)) if answered else math.nan for each in _PERCENTILES}
