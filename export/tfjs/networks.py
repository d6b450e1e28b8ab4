"""The published graph models that `python -m export onnx` converts: which part of the graph, and what metadata."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from export import graph_edit, metadata
from export.detectors import nanodet
from export.tfjs import Output, to_onnx
from export.tfjs.draft import CHANNELS_FIRST, Value
from export.tfjs.graph_model import GraphModel, read

_ROWS_LAST, _PLANES = (0, 2, 3, 1), (0, 1, 2, 3)


@dataclass(frozen=True)
class Network:
    """A published network.

    Attributes:
        source: the tensor that becomes the input, `input` [batch, 3, h, w].
        order: its stored axes (see `Value`).
        outputs: by name in the ONNX file.
        meta: metadata of the ONNX file.
    """

    source: str
    order: tuple[int, ...]
    outputs: Mapping[str, Output]
    meta: Mapping[str, Any] = field(default_factory=dict)


NETWORKS = {
    # Google's MoveNet SinglePose, Lightning and Thunder, up to the heat maps. What follows in the graph picks one of
    # the people in sight; here the box does. For padding, search and offset see decision 36.
    "movenet": Network(
        "StatefulPartitionedCall/stack",
        CHANNELS_FIRST,
        {"heatmaps": Output("StatefulPartitionedCall/Sigmoid", CHANNELS_FIRST)},
        {
            "family": "heatmaps",
            "keypoint_set": "coco",
            "num_keypoints": 17,
            "mean": [0, 0, 0],
            "std": [1, 1, 1],
            "padding": 1.03,
            "decoding": "dark",
            "search": "box",
            "offset": 0.5,
        },
    ),
    # NanoDet-g at 416 pixels: class scores after the sigmoid, and distributions over 11 distances.
    "nanodet": Network(
        "input_1",
        _PLANES,
        {
            form.format(stride): Output(f"PartitionedCall/onnx_tf_prefix_{tensor}", _ROWS_LAST, rows=True)
            for stride, scores, sides in (
                (8, "Sigmoid_154", "Split_153:1"),
                (16, "Sigmoid_165", "Split_164:1"),
                (32, "Sigmoid_176", "Split_175:1"),
            )
            for form, tensor in ((nanodet.CLASSES, scores), (nanodet.DISTANCES, sides))
        },
    ),
}


def convert_file(path: Path) -> tuple[str, onnx.ModelProto]:
    """Read a published graph model and return its network's name and its ONNX form, with metadata.

    Raises:
        ValueError: the file is no graph model, or none of these networks.
    """
    graph = read(path)
    name = next((name for name, network in NETWORKS.items() if _holds(graph, network)), None)
    if name is None:
        raise ValueError(f"{path}: none of the graph models that are known: {', '.join(NETWORKS)}")
    network = NETWORKS[name]
    value = Value("input", _shape(graph), network.order)
    model = to_onnx(graph, network.source, value, network.outputs)
    width, height = (value.shape[network.order[axis]] for axis in (3, 2))
    provenance = {"variant": path.stem, "checkpoint_sha256": graph_edit.sha256(path.with_suffix(".bin"))}
    metadata.write(model, {**network.meta, "input_w": width, "input_h": height, **provenance})
    return name, model


def _holds(graph: GraphModel, network: Network) -> bool:
    return {
        network.source,
        *(output.tensor.partition(":")[0] for output in network.outputs.values()),
    } <= graph.nodes.keys()


def _shape(graph: GraphModel) -> tuple[int, ...]:
    """Return the shape of the graph's only placeholder."""
    (placeholder,) = (node for node in graph.nodes.values() if node.op == "Placeholder")
    return tuple(int(dim["size"]) for dim in placeholder.attributes["shape"]["dim"])
