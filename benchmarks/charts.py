"""Charts of result files, as SVG text."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.compare import LOOP

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE = (7.2, 3.2)  # inches
_SETTINGS = {"svg.hashsalt": "cigpose", "svg.fonttype": "none", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
_COLOURS = ("#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860")


def contenders(result: Mapping[str, Any]) -> str:
    """Return bars: pictures a second of every contender that was saturated, and the floors as marks."""
    figure, axes = _figure()
    rows = {name: row for name, row in result["contenders"].items() if row["callers"] > 1 or name == LOOP}
    rates = [row["pictures_per_s"] for row in rows.values()]
    bars = axes.barh([*rows], rates, color=[_COLOURS[0] if "callers" in name else "#999999" for name in rows])
    axes.bar_label(bars, [f"{rate:.1f}" for rate in rates], padding=3)
    floors = [row["pictures_per_s"] / row["share_of_floor"] for row in rows.values()]
    ours = [index for index, name in enumerate(rows) if "callers" in name]
    axes.plot([floors[index] for index in ours], ours, "|", color="black", markersize=22, label="networks alone")
    axes.set_xlim(0, 1.15 * max(*rates, *floors))
    axes.set_xlabel("pictures a second")
    axes.invert_yaxis()
    figure.legend(loc="outside upper right")
    return _svg(figure)


def over_time(result: Mapping[str, Any]) -> str:
    """Return two panels of a load test: what was due, answered and refused each second, and percentiles."""
    figure, above = _figure(rows=2)
    below = figure.axes[1]
    rows = result["series"]
    seconds = [row["second"] for row in rows]
    for name, colour in (("due", "#999999"), ("answered", _COLOURS[0]), ("refused", _COLOURS[3])):
        above.plot(seconds, [row[name] for row in rows], label=name, color=colour)
    for number, name in enumerate(("p50_ms", "p95_ms", "p99_ms")):
        below.plot(seconds, [row[name] for row in rows], label=name.removesuffix("_ms"), color=_COLOURS[number])
    above.set_ylabel("requests")
    below.set(ylabel="milliseconds", xlabel="second in which the request was due", yscale="log")
    for axes in (above, below):
        axes.legend(loc="upper left", ncols=3)
    return _svg(figure)


def by_callers(rows: Sequence[Mapping[str, Any]], axis: str) -> str:
    """Return throughput and percentiles over the number of callers, or of people (`axis` names the column)."""
    figure, left = _figure()
    right = left.twinx()
    at = [row[axis] for row in rows]
    left.plot(at, [row["people_per_s"] for row in rows], "o-", color="black", label="people/s")
    for number, name in enumerate(("p50_ms", "p95_ms", "p99_ms")):
        right.plot(at, [row[name] for row in rows], ".--", label=name.removesuffix("_ms"), color=_COLOURS[number])
    left.set_xscale("log", base=2)
    left.set(xlabel=axis, ylabel="people a second", ylim=(0, None), xticks=at, xticklabels=at)
    right.set(ylabel="milliseconds", ylim=(0, None))
    right.grid(visible=False)
    figure.legend(loc="outside upper center", ncols=4)
    return _svg(figure)


def batches(result: Mapping[str, Any]) -> str:
    """Return people an execution over callers, one line a layout."""
    figure, axes = _figure()
    layouts = sorted({(row["batching"], row["instances"]) for row in result["rows"]})
    for colour, (batching, instances) in zip(_COLOURS, layouts, strict=False):
        rows = [row for row in result["rows"] if (row["batching"], row["instances"]) == (batching, instances)]
        name = f"batching {'on' if batching else 'off'}, {instances} instance{'s' if instances > 1 else ''}"
        at = [row["callers"] for row in rows]
        axes.plot(at, [row["people_per_execution"] for row in rows], "o-", label=name, color=colour)
        axes.set_xscale("log", base=2)
        axes.set(xticks=at, xticklabels=at)
    axes.set(xlabel="callers", ylabel="people an execution", ylim=(0, None))
    axes.legend()
    return _svg(figure)


def stages(result: Mapping[str, Any]) -> str:
    """Return stacked bars: processor time of a picture by stage, for one caller and at saturation."""
    import matplotlib

    figure, axes = _figure()
    loads = result["loads"]
    reached = [0.0] * len(loads)
    names = [*next(iter(loads.values()))["stages"]]
    for number, name in enumerate(names):
        widths = [load["stages"].get(name, {}).get("cpu_ms", 0.0) for load in loads.values()]
        axes.barh([*loads], widths, left=reached, label=name, color=matplotlib.colormaps["tab20"](number))
        reached = [a + b for a, b in zip(reached, widths, strict=True)]
    axes.set_xlabel("processor milliseconds a picture")
    figure.legend(loc="outside upper center", ncols=4)
    return _svg(figure)


def memory(result: Mapping[str, Any]) -> str:
    """Return memory over time."""
    figure, axes = _figure()
    at = [sample["at_s"] for sample in result["samples"]]
    for name, label in (("memory_mib", "whole server"), ("shared_memory_mib", "of it in /dev/shm")):
        axes.plot(at, [sample[name] for sample in result["samples"]], label=label)
    axes.set(xlabel="seconds", ylabel="MiB", ylim=(0, None))
    axes.legend()
    return _svg(figure)


def _figure(rows: int = 1) -> "tuple[Figure, Any]":
    import matplotlib  # not above: the command line of the report needs none
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(_SIZE[0], _SIZE[1] * (1 + 0.5 * (rows - 1))), layout="constrained")
        return figure, figure.subplots(rows, 1, sharex=rows > 1, squeeze=False)[0][0]


def _svg(figure: "Figure") -> str:
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
