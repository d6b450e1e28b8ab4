"""`python -m benchmarks memory`: the memory of a loaded server by process, optionally beside another commit's.

The figure is the proportional set size (PSS): a page that several processes share counts once, in equal parts. So the
sum is the memory that the whole server takes.
"""

import contextlib
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import results, revisions, subject
from benchmarks.closed_loop import drive
from benchmarks.revisions import Launched
from benchmarks.serving import HERE
from benchmarks.subject import Subject, pose_calls
from ensemble.triton.profiles import PROFILES
from server.usage import CommandLine

_KINDS = {"Pss_Anon": "own", "Pss_File": "files", "Pss_Shmem": "shared memory"}  # proc(5), smaps_rollup


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result file, print the table."""
    parser = CommandLine(prog="python -m benchmarks memory", description=__doc__)
    subject.add_options(parser)
    parser.add_argument("--profile", default="cpu", choices=PROFILES)
    parser.add_argument("--against", metavar="COMMIT", help="commit whose server is measured likewise")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--requests", type=int, default=96, help="requests before the measurement")
    results.add_output(parser, "memory")
    options = parser.parse_args(argv)
    with subject.prepared(options) as measured, contextlib.ExitStack() as stack:
        checkouts = {HERE: revisions.CHECKOUT}
        if options.against:
            checkouts[options.against] = stack.enter_context(revisions.checkout_of(options.against))
        servers = {}
        for name, checkout in checkouts.items():  # one at a time: shared pages would be split between them
            with _server(checkout, measured, options.profile) as server, contextlib.ExitStack() as calls:
                make_call = pose_calls(calls, server.url)
                drive(make_call, measured.pictures, options.callers, options.requests, options.callers)
                servers[name] = pss_mb(server)
    totals = {
        name: round(sum(map(sum, (each.values() for each in models.values())))) for name, models in servers.items()
    }
    result = {**measured.about, "pss_mb": totals, "servers": servers}
    if options.against:
        result["share"] = totals[HERE] / totals[options.against]
    results.write(options.output, result, profile=options.profile)
    print(as_table(result))
    return 0


def as_table(result: dict[str, Any]) -> str:
    """Return a result as a Markdown table, in MB."""
    head = ["server", "model", *_KINDS.values(), "sum"]
    rows = []
    for name, models in result["servers"].items():
        for model, kinds in sorted(models.items(), key=lambda item: -sum(item[1].values())):
            rows.append([name, model, *(kinds[kind] for kind in _KINDS.values()), sum(kinds.values())])
        rows.append([name, "all", *[""] * len(_KINDS), result["pss_mb"][name]])
    return results.as_table(head, rows)


def pss_mb(server: Launched) -> dict[str, dict[str, float]]:
    """Return the proportional memory of a server in MB: model -> kind of memory -> sum over the model's processes."""
    used: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(_KINDS.values(), 0.0))
    for pid, model in server.processes().items():
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines}  # kB
        for key, kind in _KINDS.items():
            used[model][kind] += round(sizes.get(key, 0) / 1000, 1)
    return dict(used)


@contextlib.contextmanager
def _server(checkout: Path, measured: Subject, profile: str) -> Iterator[Launched]:
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        revisions.build(checkout, measured.pose, measured.detector, repository)
        with revisions.launched(checkout, repository, profile, Path(folder) / "server.log") as server:
            yield server
