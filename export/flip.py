"""The flip test inside the graph of any SimCC network: a crop and its mirror image in one run of twice the batch."""

import numpy as np
import onnx
from onnx import compose, helper

from export import graph_edit

FACTS = "flip test: every published accuracy uses it; it doubles the cost of every request"


def with_flip_test(
    model: onnx.ModelProto, names: tuple[str, str], shape: tuple[int, int, int], partners: tuple[int, ...]
) -> onnx.ModelProto:
    """Return the network that averages its rows for a crop with those for the mirrored crop, set back in place.

    Source: MMPose 1.3.2, flip test of RTMCCHead (no shift by one bin); every published CIGPose accuracy uses it.

    Args:
        model: one input [batch, 3, H, W] and SimCC rows [batch, K, bins], float32, with a dynamic batch axis.
        names: of the rows along x and along y.
        shape: K and the bins along x and y.
        partners: (K,) which keypoint each one is in the mirror.
    """
    crop = model.graph.input[0]
    count, x_bins, y_bins = shape
    flipped = compose.add_prefix(model, "both/")
    both = flipped.graph.input[0].name
    flipped.graph.input[0].CopyFrom(crop)
    columns = graph_edit.constant(flipped, "flip/columns", _backwards(crop.type.tensor_type.shape.dim[3].dim_value))
    graph_edit.insert_first(
        flipped,
        [
            helper.make_node("Gather", [crop.name, columns], ["flip/crop"], axis=3),
            helper.make_node("Concat", [crop.name, "flip/crop"], [both], axis=0),
        ],
    )
    graph_edit.constant(flipped, "flip/partners", partners)
    graph_edit.constant(flipped, "flip/bins", _backwards(x_bins))
    graph_edit.constant(flipped, "flip/half", np.array(0.5, np.float32))
    for index in (0, 1):
        graph_edit.constant(flipped, f"flip/{index}", np.array(index))
    for name, bins, reverse in zip(names, (x_bins, y_bins), (True, False), strict=True):
        halves = graph_edit.constant(flipped, f"flip/{name}/halves", (2, -1, count, bins))
        flipped.graph.node.extend(_averaged(name, halves, reverse))
    graph_edit.set_outputs(flipped, {names[0]: [count, x_bins], names[1]: [count, y_bins]})
    return flipped


def _averaged(name: str, halves: str, reverse: bool) -> list[onnx.NodeProto]:
    """Return the nodes from `both/<name>` [2 batch, K, bins] to `name` [batch, K, bins]."""
    at = f"flip/{name}"
    back = [helper.make_node("Gather", [f"{at}/swapped", "flip/bins"], [f"{at}/back"], axis=2)] if reverse else []
    return [
        helper.make_node("Reshape", [f"both/{name}", halves], [f"{at}/pairs"]),
        helper.make_node("Gather", [f"{at}/pairs", "flip/0"], [f"{at}/seen"], axis=0),
        helper.make_node("Gather", [f"{at}/pairs", "flip/1"], [f"{at}/mirrored"], axis=0),
        helper.make_node("Gather", [f"{at}/mirrored", "flip/partners"], [f"{at}/swapped"], axis=1),
        *back,
        helper.make_node("Add", [f"{at}/seen", back[0].output[0] if back else f"{at}/swapped"], [f"{at}/sum"]),
        helper.make_node("Mul", [f"{at}/sum", "flip/half"], [name]),
    ]


def _backwards(count: int) -> list[int]:
    return list(range(count - 1, -1, -1))
