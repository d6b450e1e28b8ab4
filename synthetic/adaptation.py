"""`python -m synthetic.adaptation --pose FILE`: what LOGO-CAP's adaptation gains on the accuracy gate's scenes.

Measures a LOGO-CAP file as it is (`full`) and with the first poses as its answer (`none`), and writes the average
precision of both to `weights/adaptation.json`. The tests compare later runs with that record.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from cigpose_client import Poses
from cigpose_client.outputs import write_file
from onnx import helper

from export import graph_edit
from export.families.logocap import OUTPUTS
from export.repository import Plan, plan
from server.usage import CommandLine, command, input_path, need, output_path
from synthetic.gate import measure
from synthetic.seeds import GATE

RECORD = Path(__file__).parents[1] / "weights" / "adaptation.json"
LEAST_GAIN = 0.02  # of average precision: the paper's point
_ADAPTED = "/adapted"  # behind the names of the outputs that are replaced


def without_adaptation(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return an exported network that answers its first poses, scored by the heat maps there.

    Raises:
        ValueError: the model is no LOGO-CAP file of `python -m export onnx`.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    made = {name: node for node in changed.graph.node for name in node.output}
    stored = {tensor.name for tensor in changed.graph.initializer} | {
        node.output[0] for node in changed.graph.node if node.op_type == "Constant"
    }
    filtering = [node for node in changed.graph.node if node.op_type == "Conv" and node.input[1] not in stored]
    if len(filtering) != 1 or made["keypoints"].op_type != "Add":
        raise ValueError("this is no LOGO-CAP file that `python -m export onnx` wrote")
    poses, windows = made["keypoints"].input[0], made[filtering[0].input[0]].input[0]
    for node in changed.graph.node:
        node.output[:] = [name + _ADAPTED if name in OUTPUTS[:3] else name for name in node.output]
        node.input[:] = [name + _ADAPTED if name in OUTPUTS[:3] else name for name in node.input]
    last, two = graph_edit.constant(changed, "none/last", [3]), graph_edit.constant(changed, "none/two", [2])
    one, axes = graph_edit.constant(changed, "none/one", [1]), graph_edit.constant(changed, "none/axes", [2, 3])
    changed.graph.node.extend([
        helper.make_node("Identity", [poses], ["keypoints"]),
        helper.make_node("Shape", [windows], ["none/shape"]),
        helper.make_node("Gather", ["none/shape", last], ["none/sides"], axis=0),
        helper.make_node("Div", ["none/sides", two], ["none/middle"]),
        helper.make_node("Gather", [windows, "none/middle"], ["none/rows"], axis=2),
        helper.make_node("Gather", ["none/rows", "none/middle"], ["none/heat"], axis=3),
        helper.make_node("Squeeze", ["none/heat", axes], ["none/heights"]),
        helper.make_node("Unsqueeze", ["center_scores", one], ["none/centers"]),
        helper.make_node("Mul", ["none/heights", "none/centers"], ["keypoint_scores"]),
        helper.make_node("ReduceMean", ["keypoint_scores"], ["person_scores"], axes=[1], keepdims=0),
    ])  # fmt: skip
    return changed


def average_precision(planned: Plan, scenes: int = len(GATE)) -> float:
    """Return the average precision of the body on the first scenes of the gate."""
    run = planned.in_process("pose", threads=0)

    def estimate(picture: bytes) -> Poses:
        answer = run(image=picture)
        arrays = (answer[name] for name in ("bboxes", "bbox_scores", "keypoints", "keypoint_scores"))
        bboxes, bbox_scores, keypoints, keypoint_scores = arrays
        count = int(answer["persons_detected"][0])
        return Poses(bboxes, bbox_scores, count, keypoints, keypoint_scores, kind="bottom_up")

    return measure(estimate, GATE[:scenes]).average_precision["body"]


def measured(pose: Path, folder: Path, scenes: int = len(GATE)) -> dict[str, Any]:
    """Return the average precision of both levels; the file without adaptation is written to `folder`."""
    first = folder / "first-poses.onnx"
    graph_edit.save(without_adaptation(graph_edit.load(pose)), first)
    levels = {"full": pose, "none": first}
    found = {level: round(average_precision(plan([path], None), scenes), 4) for level, path in levels.items()}
    return {"pose": pose.name, "scenes": scenes, "average_precision": found}


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 1 when the gain is too small."""
    parser = CommandLine(prog="python -m synthetic.adaptation", description=__doc__)
    parser.add_argument("--pose", type=input_path, required=True, help="LOGO-CAP file of `python -m export onnx`")
    parser.add_argument("--scenes", type=int, default=len(GATE), help="of the gate (default: all)")
    parser.add_argument("--output", type=output_path, default=RECORD, help="default: %(default)s")
    options = parser.parse_args(argv)
    need("install-test", "pycocotools")
    with tempfile.TemporaryDirectory() as folder:
        found = measured(options.pose, Path(folder), options.scenes)
    write_file(options.output, json.dumps(found, indent=2) + "\n")
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    gain = found["average_precision"]["full"] - found["average_precision"]["none"]
    if gain < LEAST_GAIN:
        sys.stderr.write(f"the adaptation gains {gain:.4f}; at least {LEAST_GAIN} is expected\n")
    return 0 if gain >= LEAST_GAIN else 1


if __name__ == "__main__":
    sys.exit(main())
