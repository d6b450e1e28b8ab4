"""`python -m benchmarks kinds`: top-down or bottom-up, processor time of a picture by the number of people.

Runs both pipelines in this process, one thread each, on the same pictures. The top-down one detects, then estimates N
given boxes; the bottom-up one gets the bias at its centres for which about N candidates are people. So neither's
accuracy matters, and constructed weights will do.
"""

import io
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cigpose_client.outputs import write_file
from numpy.typing import NDArray

from benchmarks import results, subject
from benchmarks.constructed import LOGOCAP, constructed_network
from ensemble.in_process import InProcess
from ensemble.steps.decode_image import PictureLimits, decode_picture
from export import graph_edit
from export.families.logocap import center_bias, with_center_bias
from export.repository import plan
from server.usage import CommandLine, input_path, output_path
from synthetic.scene import render_scene
from synthetic.seeds import DEMO

COUNTS = (0, 1, 2, 4, 8, 16, 30)
TOP_DOWN, BOTTOM_UP = "top-down", "bottom-up"
_CONFIDENT = 0.01  # height of a centre that counts
_SETTINGS = {"svg.hashsalt": "cigpose", "svg.fonttype": "none", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result file, print the table and the crossing; draw a chart if one is asked for."""
    parser = CommandLine(prog="python -m benchmarks kinds", description=__doc__)
    subject.add_options(parser)
    parser.add_argument("--bottom-up", type=input_path, help="default: LOGO-CAP W32 with constructed weights")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="people in a picture")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each; the median counts (default: 5)")
    parser.add_argument("--chart", type=output_path, help="SVG file for a chart of the result")
    results.add_output(parser, "kinds")
    options = parser.parse_args(argv)
    bottom_up = options.bottom_up or constructed_network(subject.BUILT, LOGOCAP)
    with subject.prepared(options) as measured:
        picture = options.pictures[0].read_bytes() if options.pictures else render_scene(DEMO[0]).jpeg
        pipelines = {count: _with_people(bottom_up, measured.folder, picture, count) for count in options.counts}
        runs = {
            TOP_DOWN: _top_down(measured, picture),
            BOTTOM_UP: lambda count: pipelines[count][0](image=picture),
        }
        rows = [
            {"people": count} | _medians(runs, count, options.rounds) | {"bottom_up_people": pipelines[count][1]}
            for count in options.counts
        ]
    about = {"top_down": [measured.pose.name, measured.detector.name], "bottom_up": bottom_up.name}
    result = about | {"rows": rows, "crossing": crossing(rows)}
    results.write(options.output, result, profile="in process, one thread")
    print(results.as_table([*rows[0]], [[*row.values()] for row in rows]))
    print(f"the lines cross at {result['crossing']} people")
    if options.chart:
        write_file(options.chart, as_chart(result))
    return 0


def crossing(rows: Sequence[Mapping[str, float]]) -> float | None:
    """Return the number of people from which on bottom-up costs less; None if it never does."""
    gaps = [row[TOP_DOWN] - row[BOTTOM_UP] for row in rows]
    for (before, low), (after, high) in itertools.pairwise(zip(rows, gaps, strict=True)):
        if low < 0 <= high:
            share = -low / (high - low)
            return round(before["people"] + share * (after["people"] - before["people"]), 1)
    return float(rows[0]["people"]) if gaps[0] >= 0 else None


def as_chart(result: Mapping[str, Any]) -> str:
    """Return the result as SVG: a line for each kind, and the crossing."""
    import matplotlib  # imported here: the command line does not need it
    from matplotlib.figure import Figure

    people = [row["people"] for row in result["rows"]]
    file = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")  # inches
        axes: Any = figure.subplots()
        for kind in (TOP_DOWN, BOTTOM_UP):
            axes.plot(people, [row[kind] for row in result["rows"]], "o-", label=kind)
        if result["crossing"] is not None:
            axes.axvline(result["crossing"], color="black", linewidth=0.8, linestyle=":")
        axes.set(xlabel="people in the picture", ylabel="milliseconds of processor time", ylim=(0, None))
        axes.legend(loc="center left")
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :] + "\n"


def _top_down(measured: subject.Subject, picture: bytes) -> Callable[[int], object]:
    """Return a function: number of people -> detects in the picture, then estimates as many given boxes."""
    planned = plan([measured.pose], measured.detector)
    detect, estimate = planned.in_process("pose"), planned.in_process("pose_from_boxes")
    height, width = decode_picture(picture, PictureLimits()).shape[:2]
    corners = np.random.default_rng(0).uniform((0, 0), (width / 2, height / 2), (max(COUNTS), 2))
    boxes = np.hstack([corners, corners + np.array((width / 4, height / 2))]).astype(np.float32)

    def run(count: int) -> None:
        detect(image=picture, wanted=["bboxes"])
        estimate(image=picture, bboxes=boxes[:count])

    return run


def _with_people(path: Path, folder: Path, picture: bytes, count: int) -> tuple[InProcess, int]:
    """Return the pipeline of a network whose bias makes people of about `count` candidates, and how many it finds."""
    model, changed = graph_edit.load(path), folder / f"people-{count}.onnx"
    bias, raised, heights = center_bias(model), 1.0, np.zeros(1, np.float32)

    def heights_at(bias: float) -> NDArray[np.float32]:
        graph_edit.save(with_center_bias(model, bias), changed)
        return _candidates(changed, picture)

    while heights.min() <= 0:  # heights below 0 are answered as 0
        raised *= 10
        heights = heights_at(bias + raised)
    bias += raised + _CONFIDENT - float(heights.min())
    heights = heights_at(bias)  # near 0, where float32 distinguishes heights that it rounds to one when they are large
    limits = np.concatenate([[heights[0] + 1], heights, [heights[-1] - 1]])
    between = (limits[count] + limits[count + 1]) / 2
    heights = heights_at(bias + _CONFIDENT - float(between))
    found = int((heights >= _CONFIDENT).sum())
    if abs(found - count) > max(2, count // 2):
        raise ValueError(f"{path}: {found} candidates instead of {count}")
    return plan([changed], None).in_process("pose"), found


def _candidates(path: Path, picture: bytes) -> NDArray[np.float32]:
    run = plan([path], None).in_process("pose")
    tensors = run.tensors(["bboxes"], {}, {"image": picture})
    return np.asarray(tensors["center_scores"], np.float32)


def _medians(runs: Mapping[str, Callable[[int], object]], count: int, rounds: int) -> dict[str, float]:
    """Return the processor milliseconds of each kind; the first round warms up."""
    taken: dict[str, list[float]] = {kind: [] for kind in runs}
    for _ in range(rounds + 1):
        for kind, run in runs.items():
            started = time.process_time()
            run(count)
            taken[kind].append(1000 * (time.process_time() - started))
    return {kind: float(np.median(each[1:])) for kind, each in taken.items()}
