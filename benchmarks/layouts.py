"""`python -m benchmarks layouts`: ways to place the same work on the cores, in one interleaved run.

All servers run at once and take turns, so that a busy neighbour slows all of them. A profile is changed only for what
is the fastest here.
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from ensemble.graph.steps import DETECTOR

from benchmarks import results, subject
from benchmarks.closed_loop import Load, drive
from benchmarks.subject import pose_calls
from ensemble.triton.model import Instances, Model
from ensemble.triton.profiles import PROFILES, Profile


def layouts(profile: str) -> dict[str, Profile]:
    """Return the ways to try, by name; each changes one thing of a profile."""
    as_is = PROFILES[profile]

    def networks(model: Model, sessions: int, threads: int) -> Model:
        if model.backend != "onnxruntime":
            return model
        parameters = {**model.parameters, "intra_op_thread_count": str(threads)}
        return replace(model, instances=replace(model.instances, count=sessions), parameters=parameters)

    def batches_up_to(model: Model, size: int | None, delay_us: int = 0) -> Model:
        if model.batching is None or model.backend != "onnxruntime" or model.name == DETECTOR:
            return model
        batching = replace(model.batching, preferred_sizes=(size,) if size else (), max_queue_delay_us=delay_us)
        return replace(model, batching=batching)

    def steps(model: Model, processes: int) -> Model:
        return replace(model, instances=Instances("KIND_CPU", processes)) if model.backend == "python" else model

    return {
        "as it is": as_is,
        "no batching across requests": lambda model: (
            replace(as_is(model), batching=None) if model.backend == "onnxruntime" else as_is(model)
        ),
        "no batching in the detector": lambda model: (
            replace(as_is(model), batching=None) if model.name == DETECTOR else as_is(model)
        ),
        "batches up to 4": lambda model: batches_up_to(as_is(model), 4),
        "batches up to 16": lambda model: batches_up_to(as_is(model), 16),
        "batches as large as they come": lambda model: batches_up_to(as_is(model), None),
        "wait 2 ms for company": lambda model: batches_up_to(as_is(model), 8, 2000),
        "1 session of 2 threads": lambda model: networks(as_is(model), 1, 2),
        "2 sessions of 2 threads": lambda model: networks(as_is(model), 2, 2),
        "3 sessions of 1 thread": lambda model: networks(as_is(model), 3, 1),
        "1 process a step": lambda model: steps(as_is(model), 1),
        "2 processes a step": lambda model: steps(as_is(model), 2),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result file, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks layouts", description=__doc__)
    subject.add_options(parser)
    parser.add_argument("--profile", default="cpu", choices=PROFILES)
    parser.add_argument("--only", nargs="+", help="some of the ways, by name")
    parser.add_argument("--callers", type=int, nargs="+", default=(1, 16))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=64, help="a way, number of callers and round")
    results.add_output(parser, "layouts")
    options = parser.parse_args(argv)
    ways = {name: way for name, way in layouts(options.profile).items() if not options.only or name in options.only}
    names = {name: f"layout-{number}" for number, name in enumerate(ways)}
    with subject.prepared(options, {names[name]: way for name, way in ways.items()}) as measured:
        with contextlib.ExitStack() as stack:
            makers = {
                name: pose_calls(stack, stack.enter_context(measured.serve(profile)).grpc_url)
                for name, profile in names.items()
            }
            loads: dict[tuple[str, int], list[Load]] = {(name, it): [] for name in names for it in options.callers}
            turns = [*loads]
            for number in range(options.rounds + 1):
                first = number % len(turns)
                for name, callers in (*turns[first:], *turns[:first]):
                    requests = max(options.requests if callers > 1 else options.requests // 4, 2 * callers)
                    load = drive(makers[name], measured.pictures, callers, requests)
                    loads[name, callers] += [load] if number else []
        rows = [_row(name, callers, rounds) for (name, callers), rounds in loads.items()]
        result = {**measured.about, "rounds": options.rounds, "rows": rows}
    results.write(options.output, result, profile=options.profile)
    print(as_table(result))
    return 0


def as_table(result: dict[str, Any]) -> str:
    """Return a result as a Markdown table, with each way's throughput against the profile as it is."""
    base = {row["callers"]: row["pictures_per_s"] for row in result["rows"] if row["layout"] == "as it is"}
    rows = [
        [*(row[it] for it in ("layout", "callers", "pictures_per_s")), row["pictures_per_s"] / base[row["callers"]],
         row["p50_ms"], row["p99_ms"]]
        for row in result["rows"]
        if row["callers"] in base
    ]  # fmt: skip
    return results.as_table(["layout", "callers", "pictures/s", "times as it is", "p50 ms", "p99 ms"], rows)


def _row(name: str, callers: int, rounds: Sequence[Load]) -> dict[str, Any]:
    return {
        "layout": name,
        "callers": callers,
        "pictures_per_s": median(load.pictures_per_s for load in rounds),
        "p50_ms": median(load.percentile_ms(50) for load in rounds),
        "p99_ms": median(load.percentile_ms(99) for load in rounds),
        "rounds": [round(load.pictures_per_s, 2) for load in rounds],
    }


if __name__ == "__main__":
    sys.exit(main())
