"""`python -m benchmarks simcc`: decoding SimCC rows inside the network's ONNX file, against outside of it.

Inside, the network answers bins and scores (2 kB a person) and not rows of logits (477 kB for 133 keypoints), so that
three copies of those are spared: the server's own in and out of its processes, and one more of each in shared memory.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime
from ensemble.simcc import decode_simcc
from onnx import TensorProto, helper

from benchmarks import results
from benchmarks.constructed import constructed_network
from benchmarks.floor import seconds_of_run
from benchmarks.subject import BUILT
from export.pose_file import serve_pose_file

_COPIES = 3


def with_decoder(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a served pose network that answers `bins` (N, K, 2) int64 and `scores` (N, K) float32 in place of rows."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    for axis in "xy":
        row = f"simcc_{axis}"
        graph.node.append(helper.make_node("ArgMax", [row], [f"bin_{axis}"], axis=2, keepdims=1))
        graph.node.append(helper.make_node("ReduceMax", [row], [f"most_{axis}"], axes=[2], keepdims=0))
    graph.node.append(helper.make_node("Concat", ["bin_x", "bin_y"], ["bins"], axis=2))
    graph.node.append(helper.make_node("Min", ["most_x", "most_y"], ["scores"]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("bins", TensorProto.INT64, ["batch", None, 2]))
    graph.output.append(helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", None]))
    return changed


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result file, print what it comes to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks simcc", description=__doc__)
    parser.add_argument("--pose", type=Path, help="default: CIGPose-m with constructed weights")
    parser.add_argument("--people", type=int, default=8, help="in an execution")
    parser.add_argument("--rounds", type=int, default=15)
    results.add_output(parser, "simcc")
    options = parser.parse_args(argv)
    pose = options.pose or constructed_network(BUILT)
    served = serve_pose_file(pose)
    (width, height), people = served.network.input_size, options.people
    feed = {"crops": np.random.default_rng(0).integers(0, 255, (people, height, width, 3), np.uint8)}
    outside, inside = (_session(model) for model in (served.model, with_decoder(served.model)))
    simcc_x, simcc_y = outside.run(["simcc_x", "simcc_y"], feed)
    _check(inside.run(None, feed), simcc_x, simcc_y)
    ways: dict[str, Callable[[], Any]] = {
        "network": partial(outside.run, None, feed),
        "network with decoder": partial(inside.run, None, feed),
        "decoder outside": partial(decode_simcc, simcc_x, simcc_y),
        "copies": lambda: [rows.copy() for rows in (simcc_x, simcc_y) for _ in range(_COPIES)],
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.rounds + 1):
        for name, way in ways.items():
            times[name] += [seconds_of_run(way) * 1000 / people] if number else []
    row = {name: median(values) for name, values in times.items()}
    spared = row["network"] + row["decoder outside"] + row["copies"] - row["network with decoder"]
    result = {"pose": pose.name, "people": people, "ms_per_person": row, "spared_ms_per_person": spared}
    results.write(options.output, result | {"spared_share": spared / row["network"]}, profile="in process, one thread")
    print(results.as_table([*row, "spared"], [[*row.values(), spared]]))
    return 0


def _check(answer: Sequence[Any], simcc_x: Any, simcc_y: Any) -> None:
    keypoints, scores = decode_simcc(simcc_x, simcc_y)
    found = np.where((answer[1] > 0)[..., None], answer[0], -1)
    if not (np.array_equal(found, keypoints) and np.allclose(answer[1], scores, atol=1e-4)):
        raise ValueError("the decoder inside does not answer what the one outside does")


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    sys.exit(main())
