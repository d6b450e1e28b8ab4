"""A pose network's ONNX file -> its served form: uint8 BGR crops in, SimCC rows out, dynamic batch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose, helper

from ensemble.graph.networks import Network
from ensemble.keypoints import keypoint_set_of_length
from export import graph_edit

# ImageNet statistics in RGB order, as every MMPose config has them
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
Statistics = NDArray[np.float32]
_META = "cigpose_meta"
_PROVENANCE = ("variant", "precision", "flip_test", "checkpoint_sha256", "exporter")


@dataclass(frozen=True)
class ServedNetwork:
    """A network ready to be served: what the graph must know of it, and its ONNX model."""

    network: Network
    model: onnx.ModelProto


def serve_pose_file(path: Path) -> ServedNetwork:
    """Read a CIGPose (or any other MMPose SimCC) ONNX file and fold the preprocessing into it.

    The file has one input FP32 [batch, 3, H, W] of normalised RGB and two outputs, SimCC rows along x and y, in this
    order. Folded in: layout, colour order, mean and standard deviation. The batch axis is opened when it is fixed; if
    a batch of two then differs from two single runs, `max_batch_size` stays 1.

    Raises:
        ValueError: the file is no such network (the message says what it is instead).
    """
    model = graph_edit.load(path)
    meta = _metadata(model)
    size, count, bins = _shapes(path, model)
    mean, std = (np.array(meta.get(key, default), np.float32) for key, default in (("mean", MEAN), ("std", STD)))
    served = _fold(graph_edit.open_batch_axis(model), size, mean, std)
    batches = graph_edit.batches_correctly(served)
    if not batches:
        served = _fold(model, size, mean, std)
    source = {"source_file": path.name, "source_sha256": graph_edit.sha256(path)}
    source |= {key: str(meta[key]) for key in _PROVENANCE if key in meta}
    limit = {} if batches else {"max_batch_size": 1}
    network = Network(path.stem, keypoint_set_of_length(count).name, size, bins, source=source, **limit)
    return ServedNetwork(network, served)


def _metadata(model: onnx.ModelProto) -> dict[str, Any]:
    texts = [entry.value for entry in model.metadata_props if entry.key == _META]
    meta = json.loads(texts[0]) if texts else {}
    if not isinstance(meta, dict):
        raise ValueError(f"metadata key {_META} is no JSON object but {texts[0][:80]!r}")
    return meta


def _shapes(path: Path, model: onnx.ModelProto) -> tuple[tuple[int, int], int, tuple[int, int]]:
    """Return (w, h) of the input, the number of keypoints, and the numbers of bins."""
    size, outputs = graph_edit.image_input(path, model), graph_edit.shapes(model.graph.output)
    found = f"{path}: outputs {outputs} (0: not fixed)"
    if len(outputs) != 2 or any(len(shape) != 3 or min(shape[1:]) < 1 for shape in outputs):
        raise ValueError(f"{found}; a pose network has two outputs, SimCC rows [batch, K, bins] along x and y")
    (_, count, bins_x), (_, count_y, bins_y) = outputs
    if count != count_y or bins_x * size[1] != bins_y * size[0]:
        raise ValueError(f"{found}; x bins and y bins must belong to the same keypoints and split ratio")
    return size, count, (bins_x, bins_y)


def _fold(model: onnx.ModelProto, size: tuple[int, int], mean: Statistics, std: Statistics) -> onnx.ModelProto:
    model = compose.add_prefix(model, "network/")
    inner, (x, y) = model.graph.input[0].name, [value.name for value in model.graph.output]
    nodes = graph_edit.uint8_input(model, "crops", "bgr", size)
    channels = graph_edit.constant(model, "rgb_of_bgr", [2, 1, 0])
    mean_name = graph_edit.constant(model, "mean_rgb", mean.reshape(1, 3, 1, 1))
    std_name = graph_edit.constant(model, "std_rgb", std.reshape(1, 3, 1, 1))
    nodes += [
        helper.make_node("Gather", ["bgr", channels], ["rgb"], axis=1),
        helper.make_node("Sub", ["rgb", mean_name], ["centered"]),
        helper.make_node("Div", ["centered", std_name], [inner]),
    ]
    graph_edit.insert_first(model, nodes)
    for inside, outside, value in zip((x, y), ("simcc_x", "simcc_y"), model.graph.output, strict=True):
        model.graph.node.append(helper.make_node("Identity", [inside], [outside]))
        value.name = outside
    return model
