"""`python -m benchmarks batching`: how many people share one execution of the pose network, by callers.

Batching across requests off and on, one instance and two, on Triton's own counters. Off, the people of one picture
still run together; on, pictures of several callers do.
"""

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks import results, subject
from benchmarks.observed import Observed, observe
from benchmarks.subject import pose_calls
from ensemble.networks import DETECTOR
from ensemble.triton.model import Instances, Model
from ensemble.triton.profiles import PROFILES, Profile
from server.usage import CommandLine

_CALLERS = (1, 4, 16, 64)


def layout(profile: str, *, batching: bool, instances: int) -> Profile:
    """Return a profile with batching across requests on or off, and so many instances of the pose networks."""

    def changed(model: Model) -> Model:
        model = PROFILES[profile](model)
        if model.backend != "onnxruntime" or model.name == DETECTOR:
            return model
        return replace(
            model,
            instances=Instances(model.instances.kind, instances),
            batching=model.batching if batching else None,
        )

    return changed


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every layout, write the result file, print the table."""
    parser = CommandLine(prog="python -m benchmarks batching", description=__doc__)
    subject.add_options(parser)
    parser.add_argument("--profile", default="cpu", choices=PROFILES)
    parser.add_argument("--callers", type=int, nargs="+", default=_CALLERS)
    parser.add_argument("--requests", type=int, default=96, help="a layout and number of callers")
    results.add_output(parser, "batching")
    options = parser.parse_args(argv)
    layouts = {
        f"batching-{'on' if batching else 'off'}-{instances}": (batching, instances)
        for batching, instances in ((False, 1), (True, 1), (False, 2), (True, 2))
    }
    profiles = {name: layout(options.profile, batching=on, instances=count) for name, (on, count) in layouts.items()}
    rows: list[dict[str, Any]] = []
    with subject.prepared(options, profiles) as measured:
        for name, (batching, instances) in layouts.items():
            with measured.serve(name) as server, contextlib.ExitStack() as stack:
                for callers in options.callers:
                    make_call = pose_calls(stack, server.grpc_url)
                    requests = max(options.requests, 4 * callers)
                    observed = observe(server, make_call, measured.pictures, callers, requests, ramp=callers)
                    rows.append(_row(observed, measured.network, callers, batching, instances))
        result = {**measured.about, "network": measured.network, "rows": rows}
    results.write(options.output, result, profile=options.profile)
    print(as_table(result))
    return 0


def as_table(result: dict[str, Any]) -> str:
    """Return a result as a Markdown table."""
    head = ["batching", "instances", "callers", "people an execution", "pictures/s", "p50 ms", "p99 ms", "in queue ms"]
    columns = ("instances", "callers", "people_per_execution", "pictures_per_s", "p50_ms", "p99_ms", "queue_ms")
    return results.as_table(
        head,
        [["on" if row["batching"] else "off", *(row[column] for column in columns)] for row in result["rows"]],
    )


def _row(observed: Observed, network: str, callers: int, batching: bool, instances: int) -> dict[str, Any]:
    counted = observed.counters[network]
    return {
        "batching": batching,
        "instances": instances,
        "callers": callers,
        "people_per_execution": counted.rows_per_execution,
        "executions": counted.execution_count,
        "queue_ms": counted.queue_ms / counted.requests,
        **observed.as_row(),
    }


if __name__ == "__main__":
    sys.exit(main())
