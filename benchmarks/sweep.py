"""`python -m benchmarks sweep`: people per picture from 1 to 32, and callers from 1 to 64.

The people's boxes are given, so that their number is exact; these requests pass everything but the detector. The
callers send whole pictures.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from cigpose_client import PoseClient
from numpy.typing import NDArray

from benchmarks import results, subject
from benchmarks.closed_loop import Call
from benchmarks.observed import observe
from benchmarks.subject import pose_calls
from ensemble.steps.decode_image import PictureLimits, decode_picture
from ensemble.triton.profiles import PROFILES
from server.usage import CommandLine

_PEOPLE = (1, 2, 4, 8, 16, 32)
_CALLERS = (1, 2, 4, 8, 16, 32, 64)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result file, print the tables."""
    parser = CommandLine(prog="python -m benchmarks sweep", description=__doc__)
    subject.add_options(parser)
    parser.add_argument("--profile", default="cpu", choices=PROFILES)
    parser.add_argument("--people", type=int, nargs="+", default=_PEOPLE)
    parser.add_argument("--people-callers", type=int, default=4, help="callers of the first part")
    parser.add_argument("--callers", type=int, nargs="+", default=_CALLERS)
    parser.add_argument("--crops", type=int, default=256, help="for each number of people")
    parser.add_argument("--requests", type=int, default=96, help="for each number of callers")
    results.add_output(parser, "sweep")
    options = parser.parse_args(argv)
    people: list[dict[str, Any]] = []
    callers: list[dict[str, Any]] = []
    with subject.prepared(options) as measured, measured.serve(options.profile) as server:
        with contextlib.ExitStack() as stack:
            for count in options.people:
                make_call = _box_calls(stack, server.grpc_url, measured.pictures, count)
                requests = max(options.crops // count, 4 * options.people_callers)
                at_once = options.people_callers
                row = observe(server, make_call, measured.pictures, at_once, requests, at_once).as_row()
                people.append({"people": count, "ms_per_person": 1000 / row["people_per_s"], **row})
            make_call = pose_calls(stack, server.grpc_url)
            for count in options.callers:
                row = observe(server, make_call, measured.pictures, count, options.requests, count).as_row()
                callers.append({"callers": count, **row})
    most = max(row["pictures_per_s"] for row in callers)
    result = {**measured.about, "callers_of_people": options.people_callers, "people": people, "callers": callers}
    result |= {"rise_per_person": rise([row["ms_per_person"] for row in people])}
    result |= {"last_of_most": callers[-1]["pictures_per_s"] / most}
    results.write(options.output, result, profile=options.profile)
    print(as_table(result))
    return 0


def rise(times: Sequence[float]) -> float:
    """Return the largest factor by which a time stands above an earlier one; 1 when they never rise."""
    least, worst = times[0], 1.0
    for time in times:
        least, worst = min(least, time), max(worst, time / min(least, time))
    return worst


def as_table(result: dict[str, Any]) -> str:
    """Return a result as two Markdown tables."""
    columns = ("people", "ms_per_person", "pictures_per_s", "p50_ms", "p99_ms")
    people = [[row[column] for column in columns] for row in result["people"]]
    first = results.as_table(["people", "ms a person", "pictures/s", "p50 ms", "p99 ms"], people)
    callers = [
        [row[it] for it in ("callers", "pictures_per_s", "p50_ms", "p95_ms", "p99_ms")] for row in result["callers"]
    ]
    return first + "\n\n" + results.as_table(["callers", "pictures/s", "p50 ms", "p95 ms", "p99 ms"], callers)


def _box_calls(stack: contextlib.ExitStack, url: str, pictures: Sequence[bytes], count: int) -> Callable[[], Call]:
    boxes = {picture: _boxes(picture, count) for picture in pictures}

    def make() -> Call:
        client = stack.enter_context(PoseClient(url, timeout_s=120))
        return lambda picture: len(client.estimate_boxes(picture, boxes[picture]).bboxes)

    return make


def _boxes(picture: bytes, count: int) -> NDArray[np.float32]:
    """Return upright boxes of people-like size all over a picture, (count, 4), seeded."""
    height, width = decode_picture(picture, PictureLimits()).shape[:2]
    random = np.random.default_rng(count)
    tall = height * random.uniform(0.3, 0.8, count)
    left, top = random.uniform(0, width - tall / 2), random.uniform(0, height - tall)
    boxes: NDArray[np.float64] = np.stack([left, top, left + tall / 2, top + tall], axis=1)
    return boxes.astype(np.float32)
