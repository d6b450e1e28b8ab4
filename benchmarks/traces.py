"""One caller's pictures through Triton's own traces: every moment between arrival and answer belongs to one stage."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

ANSWER = "answer"
_NS_PER_MS = 1e6
_PARTS = {  # a step's own time: where each part ends; it begins where the one before it ends
    "queue_ms": "COMPUTE_START",
    "copy_in_ms": "COMPUTE_INPUT_END",
    "compute_ms": "COMPUTE_OUTPUT_START",
}
Stages = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Trace:
    """What happened to one request of one model: moments in nanoseconds by Triton's names."""

    model: str
    parent: int | None
    moments: Mapping[str, int]


def flags(file: Path) -> tuple[str, ...]:
    """Return tritonserver's flags that write every request's trace to a file, complete when the server has ended."""
    settings = ("mode=triton", f"triton,file={file}", "level=TIMESTAMPS", "rate=1")
    return tuple(f"--trace-config={setting}" for setting in settings)


def read(file: Path) -> dict[int, Trace]:
    """Return the traces of a file by their numbers."""
    about: dict[int, dict[str, Any]] = {}
    moments: dict[int, dict[str, int]] = defaultdict(dict)
    for entry in json.loads(file.read_text(encoding="utf-8")):
        if "model_name" in entry:
            about[entry["id"]] = entry
        moments[entry["id"]].update({moment["name"]: moment["ns"] for moment in entry.get("timestamps", ())})
    return {number: Trace(it["model_name"], it.get("parent_id"), moments[number]) for number, it in about.items()}


def pictures(traces: Mapping[int, Trace]) -> list[Stages]:
    """Return for each request of an ensemble its milliseconds by stage, in the order of the steps.

    The steps of a picture follow one another, so the parts of all stages add up to the time from arrival to answer:
    `hand_over_ms` from the end of one step's computing to the arrival of the next one's request, then `queue_ms`,
    `copy_in_ms` and `compute_ms`. What is before the first step counts to it; what follows the last one is `ANSWER`.
    """
    steps = defaultdict(list)
    for trace in traces.values():
        if trace.parent is not None:
            steps[trace.parent].append(trace)
    return [_stages(traces[number], steps[number]) for number in sorted(steps)]


def means(stages: Iterable[Stages]) -> Stages:
    """Return each part's mean over pictures that went through the same steps."""
    rows = list(stages)
    return {name: {part: mean(row[name][part] for row in rows) for part in rows[0][name]} for name in rows[0]}


def _stages(whole: Trace, steps: list[Trace]) -> Stages:
    stages: Stages = {}
    now = whole.moments["GRPC_WAITREAD_END"]
    for step in sorted(steps, key=lambda it: it.moments["REQUEST_START"]):
        parts = {"hand_over_ms": "REQUEST_START", **_PARTS}
        stages[step.model] = {}
        for part, end in parts.items():
            stages[step.model][part] = (step.moments[end] - now) / _NS_PER_MS
            now = step.moments[end]
    return {**stages, ANSWER: {"hand_over_ms": (whole.moments["GRPC_SEND_END"] - now) / _NS_PER_MS}}
