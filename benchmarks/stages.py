"""`python -m benchmarks stages`: where each millisecond of a picture goes, for one caller and at saturation.

Times in queue and in a step's own code are Triton's counters. Processor time is what the kernel counted of each
process, so it holds what Triton's counters cannot tell: the front end and the copies from step to step (tritonserver's
own).
"""

import contextlib
from collections.abc import Sequence
from typing import Any

from benchmarks import results, subject
from benchmarks.observed import Observed, observe
from benchmarks.processes import FRONT
from benchmarks.subject import Subject, pose_calls
from ensemble.triton.profiles import PROFILES
from server.process import RunningServer
from server.usage import CommandLine

ALONE, SATURATED = "one caller", "saturated"
NETWORK = "pose network"
_PER_PERSON = ("crop", NETWORK, "SimCC")  # the stages whose work grows with the people
_NAMES = {"decode_image": "decode", "crop_persons": "crop", "decode_simcc": "SimCC", FRONT: "front end and copies"}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result file, print the table."""
    parser = CommandLine(prog="python -m benchmarks stages", description=__doc__)
    subject.add_options(parser)
    parser.add_argument("--profile", default="cpu", choices=PROFILES)
    parser.add_argument("--callers", type=int, default=16, help="at saturation")
    parser.add_argument("--requests", type=int, default=160)
    results.add_output(parser, "stages")
    options = parser.parse_args(argv)
    with subject.prepared(options) as measured, measured.serve(options.profile) as server:
        result = {**measured.about, **measure(server, measured, options.callers, options.requests)}
    results.write(options.output, result, profile=options.profile)
    print(as_table(result))
    return 0


def measure(server: RunningServer, measured: Subject, callers: int, requests: int) -> dict[str, Any]:
    """Return both loads of a server: one caller with half of the requests, then as many as saturate it."""
    with contextlib.ExitStack() as stack:
        make_call = pose_calls(stack, server.grpc_url)
        observed = {
            ALONE: observe(server, make_call, measured.pictures, 1, requests // 2),
            SATURATED: observe(server, make_call, measured.pictures, callers, requests),
        }
    loads = {name: summary(it, measured.network) for name, it in observed.items()}
    loads[ALONE]["hops_and_copies_ms"] = left_over_ms(loads[ALONE])
    return {"callers_at_saturation": callers, "loads": loads}


def summary(observed: Observed, network: str) -> dict[str, Any]:
    """Return a load's stages, each in milliseconds a picture, and what is left over.

    Args:
        observed: one load.
        network: name of the pose network's model.
    """
    pictures = len(observed.load.latencies_s)
    stages: dict[str, dict[str, Any]] = {}
    for model, cpu_s in observed.cpu_s.items():
        counted = observed.counters.get(model)
        if counted is None and model != FRONT:
            continue  # no picture of this load passed there
        name = _name(model, network)
        stages[name] = {
            "cpu_ms": cpu_s / pictures * 1000,
            "per_person": name in _PER_PERSON,
            **(
                {}
                if counted is None
                else {
                    "queue_ms": counted.queue_ms / pictures,
                    "compute_ms": counted.infer_ms / pictures,
                    "copy_ms": counted.copy_ms / pictures,
                    "executions_per_picture": counted.execution_count / pictures,
                    "rows_per_execution": counted.rows_per_execution,
                    "ms_by_batch": {size: it.ms / it.count for size, it in sorted(counted.executions.items())},
                }
            ),
        }
    row = observed.as_row()
    return row | {
        "stages": stages,
        "server_cpu_ms": sum(stage["cpu_ms"] for stage in stages.values()),
        "callers_cpu_ms": observed.callers_cpu_s / pictures * 1000,
    }


def left_over_ms(load: dict[str, Any]) -> float:
    """Return what of one caller's time no stage computed or queued (in merged executions, pictures wait for others)."""
    stages = load["stages"].values()
    inside: float = sum(stage.get("compute_ms", 0.0) + stage.get("queue_ms", 0.0) for stage in stages)
    return float(load["mean_ms"]) - inside


def as_table(result: dict[str, Any]) -> str:
    """Return a result as a Markdown table: milliseconds a picture."""
    loads = [result["loads"][name] for name in (ALONE, SATURATED)]
    head = [
        "stage",
        "compute, one caller",
        "CPU, one caller",
        "in queue, saturated",
        "CPU, saturated",
        "batch, saturated",
    ]
    rows: list[list[Any]] = []
    for stage in loads[0]["stages"]:
        alone, busy = (load["stages"].get(stage, {}) for load in loads)
        cells = (alone.get("compute_ms"), alone.get("cpu_ms"), busy.get("queue_ms"), busy.get("cpu_ms"))
        rows.append([stage, *("" if it is None else it for it in (*cells, busy.get("rows_per_execution")))])
    rows.append(["hops and copies, waiting of the caller", loads[0]["hops_and_copies_ms"], "", "", "", ""])
    totals = [loads[0]["mean_ms"], loads[0]["server_cpu_ms"], "", loads[1]["server_cpu_ms"], ""]
    return results.as_table(head, [*rows, ["whole picture", *totals]])


def _name(model: str, network: str) -> str:
    return NETWORK if model == network else _NAMES.get(model, model)
