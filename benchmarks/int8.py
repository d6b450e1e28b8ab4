"""`python -m benchmarks int8`: what a statically quantised pose network would lose in accuracy and gain in speed.

Convolutions run in eight bits (per channel, calibrated on rendered people that the gate never shows), the rest stays
float32. Measured against the float32 network on the accuracy gate, and by the time of a batch.
"""

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime
from ensemble.crop import centers_and_scales, crop_persons
from ensemble.picture import PictureLimits, decode_picture
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import CalibrationDataReader

from benchmarks import results
from benchmarks.floor import seconds_of_run
from demo.accuracy import default_weights
from demo.gate import BBOX_THRESHOLD, measure
from demo.in_process import chain_of
from demo.scene import render_scene
from demo.seeds import CHECK, GATE
from export.pose_file import serve_pose_file
from export.yolox_file import serve_yolox_file

MAY_LOSE = 0.005  # of the average precision of the whole body
_BATCH, _ROUNDS = 8, 7
_WAYS = {  # how ranges are found, and whether depthwise convolutions (few weights a channel) stay float32
    "minmax": (CalibrationMethod.MinMax, False),
    "percentile": (CalibrationMethod.Percentile, False),
    "minmax, depthwise in float32": (CalibrationMethod.MinMax, True),
}
_INPUT = "crops"


class RenderedCrops(CalibrationDataReader):  # type: ignore[misc]
    """Crops of rendered people, one by one (histograms want batches of one size)."""

    def __init__(self, size: tuple[int, int], scenes: int):
        self._crops = rendered_crops(size, scenes)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """Return the next feed, None at the end."""
        crop = next(self._crops, None)
        return None if crop is None else {_INPUT: crop[None]}


def rendered_crops(size: tuple[int, int], scenes: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the crop of every person in so many scenes."""
    for seed in CHECK[:scenes]:
        scene = render_scene(seed)
        boxes = np.array([person.bbox_xyxy for person in scene.people], np.float32).reshape(-1, 4)
        yield from crop_persons(decode_picture(scene.jpeg, PictureLimits()), *centers_and_scales(boxes, size), size)


def quantised(model: bytes, size: tuple[int, int], way: str, scenes: int) -> bytes:
    """Return a served pose network with its convolutions in eight bits.

    Args:
        model: served ONNX file, uint8 crops in.
        size: (w, h) of a crop.
        way: key of the ways to quantise.
        scenes: how many to calibrate on.
    """
    with tempfile.TemporaryDirectory() as folder:
        folded, small = Path(folder) / "folded.onnx", Path(folder) / "int8.onnx"
        options = onnxruntime.SessionOptions()  # weights stored in half, or normalised apart, become constants
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        method, spare = _WAYS[way]
        quantize_static(
            folded,
            small,
            RenderedCrops(size, scenes),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=method,
            nodes_to_exclude=_depthwise(folded) if spare else [],
        )
        return small.read_bytes()


def _depthwise(path: Path) -> list[str]:
    nodes = [node for node in onnx.load(path).graph.node if node.op_type == "Conv"]
    return [node.name for node in nodes if any(it.name == "group" and it.i > 1 for it in node.attribute)]


def main(argv: Sequence[str] | None = None) -> int:
    """Quantise, measure both networks in turn, write the result file."""
    pose, detector = default_weights()
    parser = argparse.ArgumentParser(prog="python -m benchmarks int8", description=__doc__)
    parser.add_argument("--pose", type=Path, default=pose)
    parser.add_argument("--detector", type=Path, default=detector)
    parser.add_argument("--scenes", type=int, default=len(GATE), help="of the accuracy gate")
    parser.add_argument("--calibration", type=int, default=40, help="scenes to calibrate on")
    results.add_output(parser, "int8")
    options = parser.parse_args(argv)
    served, finder = serve_pose_file(options.pose), serve_yolox_file(options.detector)
    size = served.network.input_size
    networks = {"float32": served.model.SerializeToString()}
    networks |= {f"int8, {name}": quantised(networks["float32"], size, name, options.calibration) for name in _WAYS}
    times = _times(networks, size)
    rows: dict[str, Any] = {}
    for name, model in networks.items():
        chain = chain_of(finder, served.network, model, BBOX_THRESHOLD)
        gate = measure(chain, GATE[: options.scenes])
        rows[name] = {
            "average_precision": {part: round(value, 4) for part, value in gate.average_precision.items()},
            "ms_per_person": times[name] * 1000,
        }
    whole = {name: row["average_precision"]["whole"] for name, row in rows.items()}
    losses = {name: round(whole["float32"] - value, 4) for name, value in whole.items() if name != "float32"}
    passed = [name for name, loss in losses.items() if loss <= MAY_LOSE]
    result = {"pose": options.pose.name, "scenes": options.scenes, "batch": _BATCH, "networks": rows}
    result |= {"loss_of_average_precision": losses, "may_lose": MAY_LOSE, "passed": passed}
    results.write(options.output, result, profile="in process, one thread")
    print(json.dumps({"losses": losses, "ms": times, "passed": passed}))
    return 0


def _times(networks: dict[str, bytes], size: tuple[int, int]) -> dict[str, float]:
    """Return the seconds a person costs each network, medians of interleaved rounds."""
    batch = np.stack([*itertools.islice(rendered_crops(size, len(CHECK)), _BATCH)])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    runs: dict[str, list[float]] = {name: [] for name in networks}
    sessions = {
        name: onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for name, model in networks.items()
    }
    for number in range(_ROUNDS + 1):
        for name, session in sessions.items():
            seconds = seconds_of_run(partial(session.run, None, {_INPUT: batch}))
            runs[name] += [seconds / _BATCH] if number else []
    return {name: median(values) for name, values in runs.items()}


if __name__ == "__main__":
    sys.exit(main())
