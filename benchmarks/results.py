"""Result files: one JSON file for each command, with a description of the machine."""

import argparse
import json
from pathlib import Path
from typing import Any

from cigpose_client.outputs import write_file

from benchmarks.machine import describe
from server.usage import output_path

__all__ = ["FOLDER", "add_output", "as_table", "describe", "read", "write"]

FOLDER = Path(__file__).parent / "results"


def add_output(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the option `--output` of a command whose result file is called `name`."""
    parser.add_argument("--output", type=output_path, default=FOLDER / f"{name}.json", help="default: %(default)s")


def write(path: Path, result: dict[str, Any], profile: str) -> None:
    """Write a result, preceded by commit, date, machine and versions.

    Args:
        path: path of the JSON file.
        result: the measurements.
        profile: name of the machine profile, or of several.
    """
    content = {"machine": describe(), "profile": profile, **result}
    write_file(path, json.dumps(content, indent=2) + "\n")


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return every result in a folder, by file name without suffix."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def as_table(head: list[str], rows: list[list[Any]]) -> str:
    """Return a Markdown table; floats have two decimals."""
    cells = [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *cells])
