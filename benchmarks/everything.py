"""`python -m benchmarks all`: every measurement, then the goals; about an hour on two idle cores.

When a measurement fails, its error is printed and the next one starts.
"""

import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from benchmarks import goals, results, subject
from benchmarks.__main__ import run
from ensemble.triton.profiles import PROFILES
from server.usage import CommandLine, output_path

_QUICK = {  # command -> options with which it only shows that it runs
    "compare": "--rounds 1 --requests 8 --service-callers 4",
    "stages": "--callers 4 --requests 16",
    "stage2": "--rounds 1",
    "lifter": "--rounds 1",
    "serving": "--rounds 1 --requests 20",
    "memory": "--requests 16",
    "streams": "--films 1 --seconds 1 --rounds 1",
    "load": "spike closed-16",
    "capacity": "--seconds 3",
}


def plan(profile: str, folder: Path, *, quick: bool, measured: Sequence[str] = ()) -> list[list[str]]:
    """Return the command lines.

    Args:
        profile: profile of the server. `cpu` is compared with the contenders of the goals, others with 1, 16 and 64
            callers.
        folder: folder for the result files.
        quick: whether each command only shows that it runs.
        measured: options that name networks and pictures.
    """
    compared = [] if profile == "cpu" else ["--contenders", *(f"{profile}:{count}" for count in (1, 16, 64))]
    own = {"compare": compared, "capacity": ["--check", "--profile", profile], "streams": []}
    lines = []
    for name, brief in _QUICK.items():
        line = [name, *(brief.split() if quick else ()), *own.get(name, ["--profile", profile])]
        line += [] if name in ("load", "stage2", "streams") else measured  # these need networks of their own
        lines.append([*line, "--output", str(folder if name == "load" else folder / f"{name}.json")])
    return [*lines, *([["chart"]] if folder == results.FOLDER else [])]


def main(argv: Sequence[str] | None = None) -> int:
    """Run every measurement; return 1 when one of them failed. Missed goals are printed and are not failures."""
    parser = CommandLine(prog="python -m benchmarks all", description=__doc__)
    subject.add_options(parser)
    parser.add_argument("--profile", default="cpu", choices=PROFILES)
    parser.add_argument("--output", type=output_path, default=results.FOLDER, help="folder (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="only show that every command runs")
    options = parser.parse_args(argv)
    failed = list[str]()
    for line in plan(options.profile, options.output, quick=options.quick, measured=subject.as_arguments(options)):
        print(f"\n== {' '.join(line)}", flush=True)
        started = time.perf_counter()
        try:
            run(line)
        except (Exception, SystemExit):  # the other measurements can still run
            traceback.print_exc()
            failed.append(line[0])
        print(f"-- {line[0]}: {time.perf_counter() - started:.0f} s", flush=True)
    print("\n" + goals.as_table(goals.verdicts(options.output)))
    if failed:
        print(f"error: not measured: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))
