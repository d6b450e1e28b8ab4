"""`python -m benchmarks stages`: where the time of a picture goes, for one caller and at saturation.

Times in queue and in a step's own code are Triton's counters. Processor time is the kernel's count for each process, so
it includes what Triton's counters leave out: the front end, and the copies between steps (tritonserver's own time).
"""

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import counters, results, subject
from benchmarks.closed_loop import Call, Load, drive
from benchmarks.counters import Counters
from benchmarks.subject import Subject, pose_calls
from ensemble.triton.profiles import PROFILES
from server.activity import computing_s
from server.process import RunningServer
from server.stubs import cpu_time_s, stubs_of, thread_times
from server.usage import CommandLine

ALONE, SATURATED = "one caller", "saturated"
NETWORK = "pose network"
FRONT = "tritonserver"  # its front end, its scheduling, and the copies between models
_PER_PERSON = ("crop", NETWORK, "SimCC")  # stages whose work grows with the number of people
_NAMES = {"decode_image": "decode", "crop_persons": "crop", "decode_simcc": "SimCC", FRONT: "front end and copies"}


@dataclass(frozen=True)
class Observed:
    """The cost of one load.

    Attributes:
        load: results of the callers.
        counters: Triton's counters by model.
        cpu_s: processor time by model; that of tritonserver itself under `FRONT`.
        callers_cpu_s: processor time of the callers, which share the machine with the server.
    """

    load: Load
    counters: dict[str, Counters]
    cpu_s: dict[str, float]
    callers_cpu_s: float


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
    """Return the stages of one caller, with half of the requests, and of `callers`, which saturate the server."""
    with contextlib.ExitStack() as stack:
        make_call = pose_calls(stack, server.grpc_url)
        observed = {
            ALONE: _observe(server, make_call, measured.pictures, 1, requests // 2),
            SATURATED: _observe(server, make_call, measured.pictures, callers, requests),
        }
    loads = {name: summary(each, measured.network) for name, each in observed.items()}
    loads[ALONE]["hops_and_copies_ms"] = remainder_ms(loads[ALONE])
    return {"callers_at_saturation": callers, "loads": loads}


def _observe(
    server: RunningServer, make_call: Callable[[], Call], pictures: Sequence[bytes], callers: int, requests: int
) -> Observed:
    """Warm up, then measure a load with the counters and the processor time of the server."""
    drive(make_call, pictures, callers, max(8, callers))
    before, cpu, own = counters.read(server.control), _cpu_seconds(server), time.process_time()
    threads = thread_times(server.process.pid)
    load = drive(make_call, pictures, callers, max(requests, 2 * callers))
    own = time.process_time() - own
    used = {name: seconds - cpu.get(name, 0.0) for name, seconds in _cpu_seconds(server).items()}
    inside_s, _ = computing_s(threads, thread_times(server.process.pid))
    counted = counters.since(before, counters.read(server.control))
    return Observed(load, counted, shared(used, inside_s, _compute_inside(server, counted)), own)


def shared(used: dict[str, float], inside_s: float, compute: dict[str, float]) -> dict[str, float]:
    """Return the processor time by model, when some models compute in tritonserver's threads.

    Args:
        used: processor time by process: of models with processes, and of tritonserver.
        inside_s: processor time of tritonserver's threads that compute.
        compute: time of the executions of each model without processes.
    """
    total = sum(compute.values())
    inside = {name: inside_s * time / total for name, time in compute.items() if time}
    return {**used, **inside, FRONT: used[FRONT] - (inside_s if inside else 0.0)}


def _compute_inside(server: RunningServer, counted: dict[str, Counters]) -> dict[str, float]:
    with_processes = set(stubs_of(server.process.pid).values())
    configs = {name: server.control.config(name) for name in counted.keys() - with_processes}
    return {name: counted[name].infer_ms for name, config in configs.items() if config.platform != "ensemble"}


def _cpu_seconds(server: RunningServer) -> dict[str, float]:
    """Return the processor time of each Python-backend model, and of tritonserver itself as `FRONT`."""
    used = defaultdict[str, float](float, {FRONT: cpu_time_s(server.process.pid)})
    for stub, model in stubs_of(server.process.pid).items():
        used[model] += cpu_time_s(stub)
    return dict(used)


def summary(observed: Observed, network: str) -> dict[str, Any]:
    """Return a load's latencies and its stages, in milliseconds per picture.

    Args:
        observed: one load.
        network: name of the pose network's model.
    """
    load, pictures = observed.load, len(observed.load.latencies_s)
    stages: dict[str, dict[str, Any]] = {}
    for model, cpu_s in observed.cpu_s.items():
        counted = observed.counters.get(model)
        if counted is None and model != FRONT:
            continue  # this load did not use the model
        name = NETWORK if model == network else _NAMES.get(model, model)
        stages[name] = {
            "cpu_ms": cpu_s / pictures * 1000,
            "per_person": name in _PER_PERSON,
            **(_counted(counted, pictures) if counted else {}),
        }
    return {
        "pictures_per_s": load.pictures_per_s,
        "people_per_picture": load.people_per_picture,
        "mean_ms": sum(load.latencies_s) / pictures * 1000,
        **{f"p{percent}_ms": load.percentile_ms(percent) for percent in (50, 95, 99)},
        "stages": stages,
        "server_cpu_ms": sum(stage["cpu_ms"] for stage in stages.values()),
        "callers_cpu_ms": observed.callers_cpu_s / pictures * 1000,
    }


def _counted(counted: Counters, pictures: int) -> dict[str, Any]:
    return {
        "queue_ms": counted.queue_ms / pictures,
        "compute_ms": counted.infer_ms / pictures,
        "copy_ms": counted.copy_ms / pictures,
        "executions_per_picture": counted.execution_count / pictures,
        "rows_per_execution": counted.rows_per_execution,
        "ms_by_batch": {size: each.ms / each.count for size, each in sorted(counted.executions.items())},
    }


def remainder_ms(load: dict[str, Any]) -> float:
    """Return the part of one caller's time in which no stage computed or queued.

    It means nothing at saturation, where a picture also waits for the others of its batch.
    """
    stages = load["stages"].values()
    inside: float = sum(stage.get("compute_ms", 0.0) + stage.get("queue_ms", 0.0) for stage in stages)
    return float(load["mean_ms"]) - inside


def as_table(result: dict[str, Any]) -> str:
    """Return a result as a Markdown table, in milliseconds per picture."""
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
        rows.append([stage, *("" if cell is None else cell for cell in (*cells, busy.get("rows_per_execution")))])
    rows.append(["hops and copies, waiting of the caller", loads[0]["hops_and_copies_ms"], "", "", "", ""])
    totals = [loads[0]["mean_ms"], loads[0]["server_cpu_ms"], "", loads[1]["server_cpu_ms"], ""]
    return results.as_table(head, [*rows, ["whole picture", *totals]])
