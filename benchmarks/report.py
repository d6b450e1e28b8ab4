"""`python -m benchmarks report`: one page from the result files, and the README's chart."""

import html
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cigpose_client.outputs import check_outputs, write_file

from benchmarks import batching, capacity, charts, compare, goals, perf_analyzer, results, stages, sweep
from server.usage import CommandLine, output_path

CHART = Path(__file__).parents[1] / "docs" / "benchmarks.svg"
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:left}
td+td{font-variant-numeric:tabular-nums}svg{max-width:100%;height:auto}.about{color:#666;font-size:13px}"""
_Part = Callable[[Mapping[str, Any]], str]


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page, and the chart when there is a comparison."""
    parser = CommandLine(prog="python -m benchmarks report", description=__doc__)
    parser.add_argument(
        "--results",
        type=output_path,
        default=results.FOLDER,
        help="folder of the result files, and of report.html (default: %(default)s)",
    )
    parser.add_argument(
        "--chart", type=output_path, help="file for the README's chart (default: only with the default folder)"
    )
    options = parser.parse_args(argv)
    found = results.read(options.results)
    page = options.results / "report.html"
    chart = options.chart or (CHART if options.results.resolve() == results.FOLDER else None)
    check_outputs([page, *([chart] if chart else [])], options.results.glob("*.json"))
    write_file(page, as_page(found, goals.verdicts(options.results)))
    if chart and "compare" in found:
        write_file(chart, charts.contenders(found["compare"]) + "\n")
    print(page)
    return 0


def as_page(found: Mapping[str, Any], verdicts: Sequence[goals.Verdict]) -> str:
    """Return the page; results that no section knows are left out."""
    parts = ["<h1>Benchmarks</h1>", _table(goals.as_table(verdicts))]
    for name, result in found.items():
        section = _SECTIONS.get(name.partition("-")[0])
        if section:
            title, *blocks = section
            heading = f"{title}: {result['scenario']}" if "scenario" in result else title
            parts += [
                f"<h2>{html.escape(heading)}</h2>",
                _about(result),
                *(_apart(block(result), f"{name}-{number}") for number, block in enumerate(blocks)),
            ]
    head = f'<meta charset="utf-8"><title>Benchmarks</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _about(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    where = [f"commit {machine['commit']}", machine["date"], machine["processor"], f"{machine['cores']} cores"]
    where += [*machine.get("gpus", []), f"load before {machine['load_before']}", f"profile {result['profile']}"]
    where += [str(result[key]) for key in ("pose", "detector", "pictures") if key in result]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return f'<p class="about">{html.escape(" · ".join(where))}<br>{html.escape(packages)}</p>'


def _table(markdown: str) -> str:
    """One of our own Markdown tables (or several, with blank lines between) as HTML."""
    tables = []
    for block in markdown.split("\n\n"):
        rows = [line.strip("| ").split(" | ") for line in block.splitlines()]
        head, body = rows[0], rows[2:]
        lines = ["".join(f"<th>{html.escape(cell)}</th>" for cell in head)]
        lines += ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in body]
        tables.append("<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>")
    return "\n".join(tables)


def _tabled(as_table: Callable[[Any], str]) -> _Part:
    return lambda result: _table(as_table(result))


def _apart(block: str, prefix: str) -> str:
    """Ids inside one page must differ, and every chart counts its own from the start."""
    return re.sub(r'(id="|url\(#|href="#)', rf"\1{prefix}-", block)


def _load_table(result: Mapping[str, Any]) -> str:
    columns = ("requests", "p50_ms", "p95_ms", "p99_ms", "refused_share", "failed_share", "recovered_times")
    table = results.as_table(
        [*columns, "verdict"],
        [[*("" if result[it] is None else result[it] for it in columns), "; ".join(result["verdict"]) or "passed"]],
    )
    steps = [[name, row["queue_ms"], row["compute_ms"]] for name, row in result["stages"].items()]
    return (
        f"<p>{html.escape(result['about'])}</p>"
        + _table(table)
        + (_table(results.as_table(["step", "in queue ms", "an execution ms"], steps)) if steps else "")
    )


def _facts(*keys: str) -> _Part:
    return lambda result: _table(results.as_table([*keys], [[result[key] for key in keys]]))


_SECTIONS: dict[str, tuple[Any, ...]] = {
    "compare": ("Comparison", charts.contenders, _tabled(compare.as_table)),
    "batching": ("Batching across requests", charts.batches, _tabled(batching.as_table)),
    "stages": ("Where the time goes", charts.stages, _tabled(stages.as_table), _tabled(stages.way_table)),
    "sweep": (
        "People and callers",
        lambda result: charts.by_callers(result["people"], "people"),
        lambda result: charts.by_callers(result["callers"], "callers"),
        _tabled(sweep.as_table),
    ),
    "load": ("Load", charts.over_time, _load_table),
    "capacity": ("Capacity, predicted and measured", _tabled(capacity.as_table)),
    "endurance": (
        "Memory and start",
        charts.memory,
        _facts("pictures_sent", "memory_mib", "shared_memory_mib", "spread", "growth", "start_to_ready_s"),
    ),
    "perf_analyzer": ("perf_analyzer", _tabled(perf_analyzer.as_table)),
}


if __name__ == "__main__":
    sys.exit(main())
