"""`python -m benchmarks chart`: a comparison as a bar chart, for the documentation."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cigpose_client.outputs import write_file

from benchmarks import compare, results
from server.usage import CommandLine, input_path, output_path

CHART = Path(__file__).parents[1] / "docs" / "benchmarks.svg"
_SETTINGS = {"svg.hashsalt": "cigpose", "svg.fonttype": "none", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
_OURS, _OTHERS = "#4c72b0", "#999999"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the chart."""
    parser = CommandLine(prog="python -m benchmarks chart", description=__doc__)
    parser.add_argument(
        "--comparison",
        type=input_path,
        default=results.FOLDER / "compare.json",
        help="result of `compare` (default: %(default)s)",
    )
    parser.add_argument("--output", type=output_path, default=CHART, help="SVG file (default: %(default)s)")
    options = parser.parse_args(argv)
    write_file(options.output, as_chart(json.loads(options.comparison.read_text(encoding="utf-8"))))
    print(options.output)
    return 0


def as_chart(result: Mapping[str, Any]) -> str:
    """Return a comparison as SVG: bars of the saturated contenders' pictures per second, and marks of their floors."""
    import matplotlib  # imported here: the command line does not need it
    from matplotlib.figure import Figure

    rows = {name: row for name, row in result["contenders"].items() if row["callers"] > 1 or name == compare.LOOP}
    rates = [row["pictures_per_s"] for row in rows.values()]
    floors = [row["pictures_per_s"] / row["share_of_floor"] for row in rows.values()]
    ours = [index for index, name in enumerate(rows) if "callers" in name]
    file = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")  # inches
        axes: Any = figure.subplots()
        bars = axes.barh([*rows], rates, color=[_OURS if index in ours else _OTHERS for index in range(len(rows))])
        axes.bar_label(bars, [f"{rate:.1f}" for rate in rates], padding=3)
        axes.plot([floors[index] for index in ours], ours, "|", color="black", markersize=22, label="networks alone")
        axes.set(xlim=(0, 1.15 * max(*rates, *floors)), xlabel="pictures a second")
        axes.invert_yaxis()
        figure.legend(loc="outside upper right")
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :] + "\n"
