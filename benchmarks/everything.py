"""`python -m benchmarks all`: every measurement, then the report; about half an hour on two quiet cores.

A measurement that fails is printed, and the others go on.
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

_QUICK = {  # enough to see that everything runs; the numbers say nothing
    "compare": "--rounds 1 --requests 8 --service-callers 4",
    "stages": "--callers 4 --requests 16",
    "sweep": "--people 1 4 --callers 1 4 --crops 16 --requests 8",
    "load": "spike closed-16",
    "capacity": "--seconds 3",
}


def plan(
    profile: str, folder: Path, *, quick: bool, contenders: Sequence[str] = (), measured: Sequence[str] = ()
) -> list[list[str]]:
    """Return the command lines.

    Args:
        profile: of the server.
        folder: for the result files.
        quick: as little of each as shows that it runs.
        contenders: of the comparison, PROFILE:CALLERS; none for the profile at 1, 16 and 64 callers, or for `cpu` those
            that the goals name.
        measured: options that name networks and pictures.
    """
    compared = contenders or ([] if profile == "cpu" else [f"{profile}:{count}" for count in (1, 16, 64)])
    own = {"compare": ["--contenders", *compared] if compared else [], "capacity": ["--check", "--profile", profile]}
    lines = []
    for name, brief in _QUICK.items():
        line = [name, *(brief.split() if quick else ()), *own.get(name, ["--profile", profile])]
        line += [] if name == "load" else measured  # `load` runs on the committed weights, whose answers mean something
        lines.append([*line, "--output", str(folder if name == "load" else folder / f"{name}.json")])
    return [*lines, ["report", "--results", str(folder)]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run everything; 1 when a measurement could not be made (missed goals are printed and are no failure)."""
    parser = CommandLine(prog="python -m benchmarks all", description=__doc__)
    subject.add_options(parser)
    parser.add_argument("--profile", default="cpu", choices=PROFILES)
    parser.add_argument("--output", type=output_path, default=results.FOLDER, help="folder (default: %(default)s)")
    parser.add_argument("--contenders", nargs="+", default=(), metavar="PROFILE:CALLERS", help="of the comparison")
    parser.add_argument("--quick", action="store_true", help="only see that everything runs")
    options = parser.parse_args(argv)
    measured, broken = subject.as_arguments(options), list[str]()
    for line in plan(
        options.profile, options.output, quick=options.quick, contenders=options.contenders, measured=measured
    ):
        print(f"\n== {' '.join(line)}", flush=True)
        started = time.perf_counter()
        try:
            run(line)
        except (Exception, SystemExit):  # the others can still be measured
            traceback.print_exc()
            broken.append(line[0])
        print(f"-- {line[0]}: {time.perf_counter() - started:.0f} s", flush=True)
    print("\n" + goals.as_table(goals.verdicts(options.output)))
    if broken:
        print(f"error: not measured: {', '.join(broken)}", file=sys.stderr)
    return int(bool(broken))
