"""`python -m benchmarks serving`: the cost of the serving alone, with networks that compute nothing.

The networks have the interfaces of the real ones and answer constants. So the throughput is the most that the server
can carry, and its processor time is what a picture costs outside the networks. With `--against COMMIT`, that commit's
server is measured in the same rounds.
"""

import argparse
import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import results, revisions, subject
from benchmarks.closed_loop import drive
from benchmarks.null_networks import replace_networks
from benchmarks.revisions import Launched
from benchmarks.subject import Subject, pose_calls
from ensemble.triton.profiles import PROFILES
from server.usage import CommandLine

HERE = "this checkout"


@dataclass
class Round:
    """One load on one server: pictures per second, and the processor milliseconds of a picture by model."""

    pictures_per_s: float
    p50_ms: float
    cpu_ms: dict[str, float] = field(default_factory=dict)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result file, print the table."""
    options = _parse(argv)
    with subject.prepared(options) as measured, contextlib.ExitStack() as stack:
        servers = {HERE: stack.enter_context(_null_server(revisions.CHECKOUT, measured, options))}
        if options.against:
            checkout = stack.enter_context(revisions.checkout_of(options.against))
            servers[options.against] = stack.enter_context(_null_server(checkout, measured, options))
        rounds = _rounds(servers, measured.pictures, options)
    loads = {
        name: {f"{callers} callers": _summary(each) for callers, each in by_callers.items()}
        for name, by_callers in rounds.items()
    }
    result = {**measured.about, "people": options.people, "rounds": options.rounds, "servers": loads}
    if options.against:
        ours, theirs = loads[HERE], loads[options.against]
        result["share_of_cpu"] = {name: ours[name]["cpu_ms"] / theirs[name]["cpu_ms"] for name in ours}
    results.write(options.output, result, profile=options.profile)
    print(as_table(result))
    return 0


def as_table(result: dict[str, Any]) -> str:
    """Return a result as two Markdown tables: the loads, and the processor milliseconds of a picture by model."""
    head = ["server", "load", "pictures/s", "p50 ms", "CPU ms a picture", "pictures/s a core"]
    columns = ("pictures_per_s", "p50_ms", "cpu_ms", "pictures_per_s_and_core")
    loads = [(name, load, row) for name, by_load in result["servers"].items() for load, row in by_load.items()]
    rows = [[name, load, *(row[column] for column in columns)] for name, load, row in loads]
    models = list(dict.fromkeys(model for _, _, row in loads for model in row["cpu_ms_by_model"]))
    stages = [[model, *(row["cpu_ms_by_model"].get(model, 0.0) for _, _, row in loads)] for model in models]
    tables = [results.as_table(head, rows)]
    tables += [results.as_table(["CPU ms a picture", *(f"{name}, {load}" for name, load, _ in loads)], stages)]
    return "\n\n".join(tables)


@contextlib.contextmanager
def _null_server(checkout: Path, measured: Subject, options: argparse.Namespace) -> Iterator[Launched]:
    """Run a checkout's server on a repository of its own generator, with null networks."""
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        revisions.build(checkout, measured.pose, measured.detector, repository)
        replace_networks(repository, options.people)
        with revisions.launched(checkout, repository, options.profile, Path(folder) / "server.log") as server:
            yield server


def _rounds(
    servers: dict[str, Launched], pictures: list[bytes], options: argparse.Namespace
) -> dict[str, dict[int, list[Round]]]:
    """Measure every load on every server once a round, in a changing order, after a round of warm-up."""
    rounds: dict[str, dict[int, list[Round]]] = {name: {each: [] for each in options.callers} for name in servers}
    for number in range(options.rounds + 1):
        order = list(servers) if number % 2 else list(reversed(servers))
        for callers in options.callers:
            for name in order:
                measured = _measure(servers[name], pictures, callers, options.requests)
                rounds[name][callers] += [measured] if number else []
    return rounds


def _measure(server: Launched, pictures: list[bytes], callers: int, requests: int) -> Round:
    with contextlib.ExitStack() as stack:
        before = server.cpu_s()
        load = drive(pose_calls(stack, server.url), pictures, callers, requests, callers)
        used = server.cpu_s()
    sent = requests + 2 * callers
    cpu_ms = {model: 1000 * (seconds - before.get(model, 0.0)) / sent for model, seconds in used.items()}
    return Round(load.pictures_per_s, load.percentile_ms(50), cpu_ms)


def _summary(rounds: Sequence[Round]) -> dict[str, Any]:
    totals = [sum(each.cpu_ms.values()) for each in rounds]
    return {
        "pictures_per_s": median(each.pictures_per_s for each in rounds),
        "p50_ms": median(each.p50_ms for each in rounds),
        "cpu_ms": median(totals),
        "pictures_per_s_and_core": 1000 / median(totals),
        "cpu_ms_by_model": {
            model: round(median(each.cpu_ms.get(model, 0.0) for each in rounds), 3) for model in rounds[0].cpu_ms
        },
        "cpu_ms_of_rounds": [round(total, 3) for total in totals],
    }


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLine(prog="python -m benchmarks serving", description=__doc__)
    subject.add_options(parser)
    parser.add_argument("--profile", default="cpu", choices=PROFILES)
    parser.add_argument("--against", metavar="COMMIT", help="commit whose server is measured in the same rounds")
    parser.add_argument("--people", type=int, default=3, help="people in every picture (default: %(default)s)")
    parser.add_argument("--callers", type=int, nargs="+", default=(1, 16, 64))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=200, help="requests per load and round")
    results.add_output(parser, "serving")
    return parser.parse_args(argv)
