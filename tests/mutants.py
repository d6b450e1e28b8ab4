"""`python -m tests.mutants`: exit code 1 when tests without a server detect less than 90 % of the mutants.

A mutant is the code with one operator, constant, argument or condition changed. mutmut makes them and runs the tests
(`[tool.mutmut]` in pyproject.toml); `.venv/bin/mutmut show NAME` prints the change of one that survived.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

_CHECKOUT = Path(__file__).parents[1]
_FOLDER = _CHECKOUT / "mutants"  # mutmut's own choice
_MUTMUT = Path(sys.executable).with_name("mutmut")
_LEAST = 0.9


def mutmut(*arguments: str) -> None:
    subprocess.run([_MUTMUT, *arguments], cwd=_CHECKOUT, check=True)


def caught(count: dict[str, int]) -> float:
    """Return the share of the mutants that some test detected, timeouts included."""
    return (count["killed"] + count["timeout"]) / count["total"]


def main() -> int:
    """Make and test every mutant; list the survivors."""
    shutil.rmtree(_FOLDER, ignore_errors=True)  # mutmut keeps old results, also of tests that have changed since
    mutmut("run")
    mutmut("results")
    mutmut("export-cicd-stats")
    count = json.loads((_FOLDER / "mutmut-cicd-stats.json").read_text(encoding="utf-8"))
    print(f"{caught(count):.1%} of {count['total']} mutants caught, {_LEAST:.0%} wanted: {count}")
    return int(caught(count) < _LEAST)


if __name__ == "__main__":
    sys.exit(main())
