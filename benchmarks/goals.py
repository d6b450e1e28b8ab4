"""`python -m benchmarks goals`: the goals of `goals.json` against the result files; a verdict for each.

A goal names the file, the value in it, what it is divided by (`over`) or lessened by (`minus`), and its limits.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import results
from server.usage import CommandLine, input_path

_FILE = Path(__file__).with_name("goals.json")
_ACCURACY = Path(__file__).parents[1] / "weights" / "accuracy.json"  # through the server, by profile


@dataclass(frozen=True)
class Verdict:
    """One goal: what was wanted, and what was measured (None where nothing was)."""

    goal: str
    wanted: str
    measured: float | None
    met: bool

    @property
    def word(self) -> str:
        """Return the verdict in a word or two."""
        return "not measured" if self.measured is None else "met" if self.met else "missed"


def verdicts(folder: Path) -> list[Verdict]:
    """Return a verdict for each goal, from the result files of a folder."""
    found = results.read(folder)
    if _ACCURACY.exists():
        found["accuracy"] = json.loads(_ACCURACY.read_text(encoding="utf-8"))
    return [judge(goal, found) for goal in json.loads(_FILE.read_text(encoding="utf-8"))]


def judge(goal: Mapping[str, Any], found: Mapping[str, Any]) -> Verdict:
    """Return the verdict on one goal.

    Args:
        goal: an entry of `goals.json`.
        found: results by file name.
    """
    wanted = " and ".join(f"{sign} {goal[key]}" for key, sign in (("at_least", ">="), ("at_most", "<=")) if key in goal)
    value = _look_up(found.get(goal["file"]), goal["value"])
    over, minus = (_look_up(found.get(goal["file"]), goal[key]) if key in goal else None for key in ("over", "minus"))
    if value is None or ("over" in goal and not over) or ("minus" in goal and minus is None):
        return Verdict(goal["goal"], wanted, None, False)
    measured = value / (over or 1.0) - (minus or 0.0)
    met = goal.get("at_least", measured) <= measured <= goal.get("at_most", measured)
    return Verdict(goal["goal"], wanted, measured, met)


def as_table(found: Sequence[Verdict]) -> str:
    """Return verdicts as a Markdown table."""
    rows = [[it.goal, it.wanted, "" if it.measured is None else f"{it.measured:.4g}", it.word] for it in found]
    return results.as_table(["goal", "wanted", "measured", "verdict"], rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 when a goal is missed or was not measured."""
    parser = CommandLine(prog="python -m benchmarks goals", description=__doc__)
    parser.add_argument("--results", type=input_path, default=results.FOLDER, help="folder (default: %(default)s)")
    found = verdicts(parser.parse_args(argv).results)
    print(as_table(found))
    return int(not all(it.met for it in found))


def _look_up(result: Any, path: Sequence[str]) -> float | None:
    for key in path:
        if not isinstance(result, Mapping) or key not in result:
            return None
        result = result[key]
    return None if result is None else float(result)
