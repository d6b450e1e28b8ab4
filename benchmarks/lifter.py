"""`python -m benchmarks lifter`: what 3-D adds to the cost of a person, and its server's share of the networks' floor.

Each round measures the 2-D network, the step before the lifter and the lifter alone, then the floor, and the server,
which is asked for given boxes.
"""

import functools
import os
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks import floor, results, stage2, subject
from benchmarks.constructed import LIFTER, constructed_network
from ensemble.steps import Request
from ensemble.steps.decode_image import PictureLimits, decode_picture
from ensemble.steps.lift_inputs import LiftInputs
from ensemble.tensors import IMAGE_BGR, KEYPOINTS, LIFT_CROPS
from server.usage import CommandLine, input_path


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result file, print the table."""
    parser = CommandLine(prog="python -m benchmarks lifter", description=__doc__)
    subject.add_options(parser)
    parser.add_argument("--lifter", type=input_path, help=f"default: {LIFTER} with constructed weights")
    stage2.add_rounds(parser)
    results.add_output(parser, "lifter")
    options = parser.parse_args(argv)
    options.lifter = options.lifter or constructed_network(subject.BUILT, LIFTER)
    with subject.prepared(options) as measured:
        result = _measure(measured, options.lifter.stem, stage2.Rounds.of(options))
    results.write(options.output, {**measured.about, **result}, profile=options.profile)
    print(stage2.as_table(result))
    return 0


def _measure(measured: subject.Subject, lifter: str, rounds: stage2.Rounds) -> dict[str, str | float]:
    paths = [measured.repository / name / "1" / "model.onnx" for name in (measured.network, lifter)]
    rows, threads = [stage2.random_rows(path) for path in paths], os.cpu_count() or 1
    runs = [functools.partial(floor.session(path, threads), batch) for path, batch in zip(paths, rows, strict=True)]
    calls: list[Callable[[], object]] = [*runs, _step_before(measured.pictures[0], rows[1][LIFT_CROPS.name].shape)]

    def sample() -> dict[str, float]:
        flat_s, lifter_s, before_s = (floor.seconds_of_run(run) for run in calls)
        person_ms = 1000 / stage2.BATCH
        return {
            "flat_ms_a_person": flat_s * person_ms,
            "lift_inputs_ms_a_person": before_s * person_ms,
            "lifter_ms_a_person": lifter_s * person_ms,
            "added_share": (before_s + lifter_s) / flat_s,
        }

    floors = [floor.NetworkFloor(path, batch) for path, batch in zip(paths, rows, strict=True)]
    result = stage2.medians(measured, f"pose_{lifter}", rounds, sample, floors)
    return {"lifter": lifter, **result}


def _step_before(picture: bytes, crops: tuple[int, ...]) -> Callable[[], object]:
    """Return the call of `lift_inputs` for people at random places of a picture."""
    people, height, width, _ = crops
    image_bgr = decode_picture(picture, PictureLimits())
    size = image_bgr.shape[1::-1]
    keypoints = np.random.default_rng(0).uniform((0, 0), size, (people, 17, 2)).astype(np.float32)
    request = Request({IMAGE_BGR.name: image_bgr, KEYPOINTS.name: keypoints}, {}, frozenset())
    return functools.partial(LiftInputs("lift_inputs", width, height, people, "coco").run, request)
