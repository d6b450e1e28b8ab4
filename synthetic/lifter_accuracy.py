"""`python -m synthetic.lifter_accuracy NO-CONTEXT.onnx PLAIN.onnx`: what the trained lifter gains from the picture.

Measures the committed lifter beside lifters without context (`synthetic.train capf-no-context` and `capf-plain`) on
the gate's scenes, and writes the errors to `weights/lifter.json`. Lifters get the exact 2-D joints and the crops of the
serving step, so the errors are their own.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from cigpose_client.evaluation import Sample, evaluate_3d
from cigpose_client.evaluation.joints_3d import MEAN
from cigpose_client.outputs import write_file

from ensemble.pipelines.lifted import LiftingNetwork
from ensemble.steps import Request
from ensemble.steps.lift_inputs import LiftInputs
from ensemble.tensors import IMAGE_BGR, KEYPOINTS, LIFTED
from export import graph_edit
from export.families import serve_pose_file
from server.usage import CommandLine, command, input_path
from synthetic.accuracy import CHECKOUT
from synthetic.effects import decode
from synthetic.scene import render_scene
from synthetic.seeds import GATE

NETWORK = CHECKOUT / "weights" / "capf-t_rendered_256x192.onnx"
RECORD = CHECKOUT / "weights" / "lifter.json"
_POINTS = "coco_wholebody"  # of the scenes


def measure_lifter(path: Path, seeds: Iterable[int] = GATE) -> dict[str, float]:
    """Return MPJPE and P-MPJPE in mm (`..._mm`) over the `people` in the scenes of `seeds`.

    Raises:
        ValueError: the file is no lifter.
    """
    served = serve_pose_file(path)
    if not isinstance(served.model, LiftingNetwork):
        raise ValueError(f"{path} is no lifter")
    session = graph_edit.cpu_session(served.graphs[served.model.name], threads=1)
    step = LiftInputs("lift_inputs", *served.model.crop_size, served.model.max_batch_size, _POINTS)
    samples: list[Sample] = []
    for scene in map(render_scene, seeds):
        if not scene.people:
            continue
        points = {KEYPOINTS.name: np.array([person.points for person in scene.people], np.float32)}
        inputs = step.run(Request({IMAGE_BGR.name: decode(scene.jpeg), **points}, {}, frozenset()))
        (lifted,) = session.run([LIFTED.name], dict(inputs))
        people = zip(lifted, scene.people, strict=True)
        samples += [Sample(found.astype(np.float64), person.joints_3d, "all") for found, person in people]
    errors = {f"{name}_mm": round(value, 1) for name, value in evaluate_3d(samples)[MEAN].items()}
    return {**errors, "people": len(samples)}


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = CommandLine(prog="python -m synthetic.lifter_accuracy", description=__doc__)
    parser.add_argument("files", type=input_path, nargs="+", metavar="FILE.onnx", help="lifters to compare with")
    files = [NETWORK, *parser.parse_args(argv).files]
    record = {path.stem: measure_lifter(path) for path in files}
    write_file(RECORD, json.dumps(record, indent=2) + "\n")
    for name, errors in record.items():
        print(name, ", ".join(f"{key} {value}" for key, value in errors.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
