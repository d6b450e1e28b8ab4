"""The flip test inside a network's graph: crops and their mirror images run in one batch."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import compose, helper

from export import graph_edit

FACTS = "flip test: every published accuracy uses it; it doubles the cost of every request"


def with_flip_test(
    model: onnx.ModelProto,
    shapes: Mapping[str, Sequence[int]],
    columns: Mapping[str, Sequence[int]],
    partners: Sequence[int],
) -> onnx.ModelProto:
    """Return the network that averages its outputs for a crop with the flipped-back ones for the mirrored crop.

    Source: MMPose 1.3.2, flip tests of RTMCCHead and HeatmapHead.

    Args:
        model: the network, with one input [batch, 3, H, W] and float32 outputs [batch, K, ...], batch dynamic.
        shapes: shapes of the outputs by name, without the batch axis.
        columns: outputs whose last axis runs along x -> the column of the mirrored crop's output that belongs at each
            column (see `mirrored_columns`).
        partners: (K,) index of the keypoint that each one becomes in the mirror image.
    """
    crop = model.graph.input[0]
    flipped = compose.add_prefix(model, "both/")
    both = flipped.graph.input[0].name
    flipped.graph.input[0].CopyFrom(crop)
    width = crop.type.tensor_type.shape.dim[3].dim_value
    order = graph_edit.constant(flipped, "flip/columns", mirrored_columns(width))
    graph_edit.insert_first(
        flipped,
        [
            helper.make_node("Gather", [crop.name, order], ["flip/crop"], axis=3),
            helper.make_node("Concat", [crop.name, "flip/crop"], [both], axis=0),
        ],
    )
    graph_edit.constant(flipped, "flip/partners", partners)
    graph_edit.constant(flipped, "flip/half", np.array(0.5, np.float32))
    for index in (0, 1):
        graph_edit.constant(flipped, f"flip/{index}", np.array(index))
    for name, shape in shapes.items():
        graph_edit.constant(flipped, f"flip/{name}/halves", (2, -1, *shape))
        if name in columns:
            graph_edit.constant(flipped, f"flip/{name}/order", columns[name])
        flipped.graph.node.extend(_averaged(name, len(shape) if name in columns else None))
    graph_edit.set_outputs(flipped, shapes)
    return flipped


def mirrored_columns(width: int, shift: bool = False) -> list[int]:
    """Return which column of a mirrored crop's output belongs at each column: (width,).

    Args:
        width: number of columns.
        shift: one column to the right, column 0 keeps its value. Heat maps need it unless their crops are UDP's: a
            mirrored crop's cells lie nearly one cell beside those of the crop.

    Source: the official `flip_back` and SHIFT_HEATMAP; MMPose 1.3.2, flip_heatmaps.
    """
    backwards = list(range(width - 1, -1, -1))
    return [width - 1, *backwards[:-1]] if shift else backwards


def _averaged(name: str, axis: int | None) -> list[onnx.NodeProto]:
    """Return the nodes from `both/<name>` [2 batch, K, ...] to `name`; `axis` is reversed in the mirrored half."""
    at = f"flip/{name}"
    back = [helper.make_node("Gather", [f"{at}/swapped", f"{at}/order"], [f"{at}/back"], axis=axis)] if axis else []
    return [
        helper.make_node("Reshape", [f"both/{name}", f"{at}/halves"], [f"{at}/pairs"]),
        helper.make_node("Gather", [f"{at}/pairs", "flip/0"], [f"{at}/seen"], axis=0),
        helper.make_node("Gather", [f"{at}/pairs", "flip/1"], [f"{at}/mirrored"], axis=0),
        helper.make_node("Gather", [f"{at}/mirrored", "flip/partners"], [f"{at}/swapped"], axis=1),
        *back,
        helper.make_node("Add", [f"{at}/seen", back[0].output[0] if back else f"{at}/swapped"], [f"{at}/sum"]),
        helper.make_node("Mul", [f"{at}/sum", "flip/half"], [name]),
    ]
