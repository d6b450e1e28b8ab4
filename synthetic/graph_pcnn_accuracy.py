"""`python -m synthetic.graph_pcnn_accuracy`: what stage 2 of the trained Graph-PCNN and its graph add, on the gate.

Measures the committed network through a real server, beside its first stage alone and two ablations of its graph, and
writes the numbers to `weights/graph_pcnn.json`.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from cigpose_client import PoseClient
from cigpose_client.outputs import write_file
from onnx import helper

from export import graph_edit
from export.families.graph_pcnn.variants import OUTPUTS
from server.usage import CommandLine, command, need
from synthetic.accuracy import CHECKOUT, WAYS, Numbers, default_weights, measure_gate, served

NETWORK = CHECKOUT / "weights" / "graphpcnn-t_rendered_128x96.onnx"
RECORD = CHECKOUT / "weights" / "graph_pcnn.json"
STAGE1, STAGE2, NO_GRAPH, EQUAL = "stage 1", "stage 2", "no graph", "equal neighbours"
_REFINED, _COARSE, _SCORES = OUTPUTS


def measure_networks(folder: Path) -> dict[str, Numbers]:
    """Return the gate's numbers (`measure_gate`) of the network, its first stage, and its ablations."""
    files = {STAGE1: "stage1", NO_GRAPH: "no-graph", EQUAL: "equal-neighbours"}
    networks = {STAGE2: NETWORK} | {name: folder / f"{stem}.onnx" for name, stem in files.items()}
    _write_first_stage(networks[STAGE1])
    _write_with_neighbours(0.0, networks[NO_GRAPH])
    _write_with_neighbours(1.0, networks[EQUAL])
    with served(list(networks.values()), default_weights()[1], WAYS["cpu"], folder / "served") as client:
        numbers = {}
        for name, path in networks.items():
            with PoseClient(client.url, model=f"pose_{path.stem}", timeout_s=60) as own:
                numbers[name] = measure_gate(own, folder / path.stem)
    return numbers


def _write_first_stage(path: Path) -> None:
    """Write the network with the coarse keypoints in the place of the refined ones."""
    model = graph_edit.load(NETWORK)
    for node in model.graph.node:
        node.output[:] = ["before/keypoints" if name == _REFINED else name for name in node.output]
    model.graph.node.append(helper.make_node("Identity", [_COARSE], [_REFINED]))
    graph_edit.save(model, path)


def _write_with_neighbours(weight: float, path: Path) -> None:
    """Write the network with one weight for every neighbour, in the place of its heat if that is above the gate."""
    model = graph_edit.load(NETWORK)
    (gated,) = (node for node in model.graph.node if node.op_type == "Mul" and _SCORES in node.input)
    at, (weights,) = list(model.graph.node).index(gated), gated.output
    zero = graph_edit.constant(model, "ablation/zero", np.array(0, np.float32))
    same = graph_edit.constant(model, "ablation/weight", np.array(weight, np.float32))
    model.graph.node.remove(gated)
    model.graph.node.insert(at, helper.make_node("Mul", [_SCORES, zero], ["ablation/zeros"]))
    model.graph.node.insert(at + 1, helper.make_node("Add", ["ablation/zeros", same], [weights]))
    graph_edit.save(model, path)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = CommandLine(prog="python -m synthetic.graph_pcnn_accuracy", description=__doc__)
    parser.parse_args(argv)
    need("install-test", "pycocotools")
    with tempfile.TemporaryDirectory() as folder:
        record = measure_networks(Path(folder))
    write_file(RECORD, json.dumps(record, indent=2) + "\n")
    for name, numbers in record.items():
        print(f"{name:<17} AP {numbers['average_precision']['body']:.4f}, error {numbers['mean_error_px']:.2f} pixels")
    return 0


if __name__ == "__main__":
    sys.exit(main())
