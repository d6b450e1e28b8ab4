"""`python -m benchmarks report`: the result files as one page of Markdown tables, and the README's chart."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cigpose_client.outputs import check_outputs, write_file

from benchmarks import capacity, compare, goals, load, results, stages, sweep
from server.usage import CommandLine, output_path

CHART = Path(__file__).parents[1] / "docs" / "benchmarks.svg"
_SETTINGS = {"svg.hashsalt": "cigpose", "svg.fonttype": "none", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
_OURS, _OTHERS = "#4c72b0", "#999999"
TABLES: dict[str, Callable[[dict[str, Any]], str]] = {  # first word of a result file's name: its tables
    "compare": compare.as_table,
    "stages": stages.as_table,
    "sweep": sweep.as_table,
    "load": load.as_table,
    "capacity": capacity.as_table,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page, and the chart when there is a comparison."""
    parser = CommandLine(prog="python -m benchmarks report", description=__doc__)
    parser.add_argument(
        "--results",
        type=output_path,
        default=results.FOLDER,
        help="folder of the result files, and of report.md (default: %(default)s)",
    )
    parser.add_argument("--chart", type=output_path, help="README's chart (default: only for the default folder)")
    options = parser.parse_args(argv)
    found = results.read(options.results)
    page = options.results / "report.md"
    chart = options.chart or (CHART if options.results.resolve() == results.FOLDER else None)
    check_outputs([page, *([chart] if chart else [])], options.results.glob("*.json"))
    write_file(page, as_page(found, goals.verdicts(options.results)))
    if chart and "compare" in found:
        write_file(chart, as_chart(found["compare"]))
    print(page)
    return 0


def as_page(found: Mapping[str, Any], verdicts: Sequence[goals.Verdict]) -> str:
    """Return the page; results without a table are left out."""
    parts = ["# Benchmarks", goals.as_table(verdicts)]
    for name, result in found.items():
        if table := TABLES.get(name.partition("-")[0]):
            parts += [f"## {name}", _about(result), table(result)]
    return "\n\n".join(parts) + "\n"


def as_chart(result: Mapping[str, Any]) -> str:
    """Return a comparison as SVG: pictures a second of each saturated contender, and the floors as marks."""
    import matplotlib  # not above: the command line needs none
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


def _about(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    about = [f"commit {machine['commit']}", machine["date"], machine["processor"], f"{machine['cores']} cores"]
    about += [*machine["gpus"], f"load before {machine['load_before']}", f"profile {result['profile']}"]
    about += [str(result[key]) for key in ("pose", "detector", "pictures") if key in result]
    return ", ".join([*about, *(f"{name} {version}" for name, version in machine["packages"].items())])
