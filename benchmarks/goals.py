"""`python -m benchmarks goals`: compares the result files with the goals of `goals.json`.

A goal names a result file, the path of a value in it, its limits, and optionally the path of a value to divide by
(`over`) or to subtract (`minus`).
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
    """One goal: its limits in words, and the measured value, or None."""

    goal: str
    wanted: str
    measured: float | None
    met: bool

    @property
    def word(self) -> str:
        """The verdict: `met`, `missed` or `not measured`."""
        return "not measured" if self.measured is None else "met" if self.met else "missed"


def verdicts(folder: Path) -> list[Verdict]:
    """Return a verdict for each goal, from the result files of a folder."""
    recorded = results.read(folder)
    if _ACCURACY.exists():
        recorded["accuracy"] = json.loads(_ACCURACY.read_text(encoding="utf-8"))
    return [judge(goal, recorded) for goal in json.loads(_FILE.read_text(encoding="utf-8"))]


def judge(goal: Mapping[str, Any], recorded: Mapping[str, Any]) -> Verdict:
    """Return the verdict on one goal.

    Args:
        goal: an entry of `goals.json`.
        recorded: results by file name.
    """
    wanted = " and ".join(f"{sign} {goal[key]}" for key, sign in (("at_least", ">="), ("at_most", "<=")) if key in goal)
    result = recorded.get(goal["file"])
    value = _look_up(result, goal["value"])
    over, minus = (_look_up(result, goal[key]) if key in goal else None for key in ("over", "minus"))
    if value is None or ("over" in goal and not over) or ("minus" in goal and minus is None):
        return Verdict(goal["goal"], wanted, None, False)
    measured = value / (over or 1.0) - (minus or 0.0)
    met = goal.get("at_least", measured) <= measured <= goal.get("at_most", measured)
    return Verdict(goal["goal"], wanted, measured, met)


def as_table(judged: Sequence[Verdict]) -> str:
    """Return verdicts as a Markdown table."""
    rows = [
        [each.goal, each.wanted, "" if each.measured is None else f"{each.measured:.4g}", each.word] for each in judged
    ]
    return results.as_table(["goal", "wanted", "measured", "verdict"], rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return 1 when a goal is missed or was not measured."""
    parser = CommandLine(prog="python -m benchmarks goals", description=__doc__)
    parser.add_argument("--results", type=input_path, default=results.FOLDER, help="folder (default: %(default)s)")
    judged = verdicts(parser.parse_args(argv).results)
    print(as_table(judged))
    return int(not all(verdict.met for verdict in judged))


def _look_up(result: Any, path: Sequence[str]) -> float | None:
    for key in path:
        if not isinstance(result, Mapping) or key not in result:
            return None
        result = result[key]
    return None if result is None else float(result)
