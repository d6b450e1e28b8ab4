"""The detector contract, and the graph edits that the converters share.

A served detector takes `letterboxed` UINT8 [batch, h, w, 3] (BGR, scaled to fit, top-left aligned, grey 114) and
answers `boxes` FP32 [batch, A, 4] (left, top, right, bottom in letterbox pixels) and `scores` FP32 [batch, A] (person
scores). The next step applies the thresholds and the non-maximum suppression.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose, helper

from ensemble.geometry import Size
from ensemble.networks import Detector
from export import graph_edit, metadata

Constants = dict[str, NDArray[np.generic]]
Part = tuple[list[onnx.NodeProto], Constants]  # nodes, and the initializers they use


@dataclass(frozen=True)
class ServedDetector:
    """A detector in served form: its description for the pipelines, and its ONNX model."""

    detector: Detector
    model: onnx.ModelProto


@dataclass(frozen=True)
class Decoding:
    """The nodes between the contract's tensors and a published detector's input and outputs.

    Attributes:
        form: form of the file, for the served model's config.
        candidates: number A of boxes.
        before: returns nodes from the tensor `pixels` FP32 [batch, 3, h, w], BGR 0 to 255, to the named input.
        after: nodes from the file's outputs, names prefixed by `network/`, to `boxes` and `scores`.
        constants: initializers of those nodes.
        bbox_threshold: see `Detector`.
    """

    form: str
    candidates: int
    before: Callable[[str], list[onnx.NodeProto]]
    after: list[onnx.NodeProto]
    constants: Constants = field(default_factory=dict)
    bbox_threshold: float = Detector.bbox_threshold


def fold(path: Path, model: onnx.ModelProto, size: Size, decoding: Decoding) -> ServedDetector:
    """Fold the decoding into the model. Open its batch axis unless batches then give other results than single runs."""
    served = _fold(graph_edit.open_batch_axis(model), size, decoding)
    source = metadata.source(path, metadata.read(model)) | {"source_form": decoding.form}
    detector = Detector(size, decoding.candidates, source=source, bbox_threshold=decoding.bbox_threshold)
    if not graph_edit.batches_correctly(served):
        served, detector = _fold(model, size, decoding), replace(detector, max_batch_size=1)
    return ServedDetector(detector, served)


def corners(center: str, size: str) -> Part:
    """Return nodes from centres and sizes [batch, A, 2] to `boxes`."""
    nodes = [
        helper.make_node("Mul", [size, "decode/half"], ["half_sizes"]),
        helper.make_node("Sub", [center, "half_sizes"], ["top_left"]),
        helper.make_node("Add", [center, "half_sizes"], ["bottom_right"]),
        helper.make_node("Concat", ["top_left", "bottom_right"], ["boxes"], axis=2),
    ]
    return nodes, {"decode/half": np.array(0.5, np.float32)}


def columns(source: str, first: int, end: int, target: str) -> Part:
    """Return nodes that cut columns `first` to `end` of the last axis of [batch, A, C]."""
    names = [f"{target}/{part}" for part in ("first", "end", "axis")]
    values = [np.array([value]) for value in (first, end, 2)]
    return [helper.make_node("Slice", [source, *names], [target])], dict(zip(names, values, strict=True))


def column(source: str, index: int, target: str) -> Part:
    """Return nodes that take one column of the last axis of [batch, A, C]: [batch, A]."""
    return [helper.make_node("Gather", [source, f"{target}/index"], [target], axis=2)], {
        f"{target}/index": np.array(index)
    }


def joined(parts: Iterable[Part]) -> Part:
    """Return all nodes in order, and all constants."""
    nodes: list[onnx.NodeProto] = []
    constants: Constants = {}
    for more, values in parts:
        nodes += more
        constants |= values
    return nodes, constants


def _fold(model: onnx.ModelProto, size: Size, decoding: Decoding) -> onnx.ModelProto:
    model = compose.add_prefix(model, "network/")
    (inner,) = (value.name for value in model.graph.input)
    nodes = graph_edit.uint8_input(model, "letterboxed", "pixels", size)
    graph_edit.insert_first(model, [*nodes, *decoding.before(inner)])
    for name, values in decoding.constants.items():
        graph_edit.constant(model, name, values)
    model.graph.node.extend(decoding.after)
    graph_edit.set_outputs(model, {"boxes": [decoding.candidates, 4], "scores": [decoding.candidates]})
    return model
