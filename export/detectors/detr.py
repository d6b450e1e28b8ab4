"""An RT-DETR ONNX file (Apache-2.0; also RT-DETRv2 and D-FINE in the same forms) -> its served form.

Two forms are published. The transformers library exports the heads: `logits` [batch, Q, classes] before the sigmoid,
and `pred_boxes` [batch, Q, 4], centre and size relative to the input. The authors' own files include post-processing:
a second input `orig_target_sizes` [batch, 2], width and height, and the outputs `labels`, `boxes` in pixels, `scores`.

Unlike YOLOX, the input is RGB from 0 to 1, and the number of queries is fixed. The networks were trained on pictures
stretched to a square. Here they get letterboxed ones, as every detector of this contract does, so people keep their
proportions and the published accuracy does not apply exactly. The networks need no non-maximum suppression. The next
step applies it all the same; a request can raise `nms_threshold`.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from ensemble.geometry import Size
from export import graph_edit, network_file
from export.detectors import DetectorFamily, DetectorOptions
from export.detectors.contract import Decoding, Part, ServedDetector, column, columns, corners, fold, joined

HEADS = ("logits", "pred_boxes")
POSTPROCESSED = ("labels", "boxes", "scores")
_SIZES = "orig_target_sizes"
_WHITE = 255.0


def is_detr(model: onnx.ModelProto) -> bool:
    """Return whether the outputs have the names of one of the two forms."""
    names = {value.name for value in model.graph.output}
    return set(HEADS) <= names or set(POSTPROCESSED) <= names


def serve(path: Path, model: onnx.ModelProto, size: Size, options: DetectorOptions) -> ServedDetector:
    """Serve a file with a picture input [1, 3, H, W].

    Raises:
        ValueError: the outputs have other shapes, or there is no class `options.person`.
    """
    person = options.person
    _bake_target_sizes(model, size)
    network_file.refuse_other_inputs(path, model)
    found = network_file.answers(path, model)
    if set(HEADS) <= found.keys():
        form, (nodes, constants) = "rt-detr heads", _from_heads(size, person)
        wrong = found["pred_boxes"].shape != (len(found["logits"]), 4) or not 0 <= person < found["logits"].shape[1]
    else:
        form, (nodes, constants) = "rt-detr post-processed", _from_labels(person)
        wrong = found["boxes"].shape != (len(found["scores"]), 4) or found["labels"].shape != found["scores"].shape
    if wrong:
        listing = ", ".join(f"{name} {[1, *value.shape]}" for name, value in found.items())
        raise ValueError(f"{path}: the outputs {listing} are not those of an RT-DETR with a class {person}")
    decoding = Decoding(
        form=form,
        candidates=len(found["pred_boxes" if "pred_boxes" in found else "boxes"]),
        before=lambda inner: [
            helper.make_node("Gather", ["pixels", "rgb_of_bgr"], ["rgb"], axis=1),
            helper.make_node("Div", ["rgb", "white"], [inner]),
        ],
        after=nodes,
        constants=constants | {"rgb_of_bgr": np.array([2, 1, 0]), "white": np.array(_WHITE, np.float32)},
    )
    return fold(path, model, size, decoding)


FAMILY = DetectorFamily(
    ("rt-detr",), f"picture -> {', '.join(HEADS)}; or picture, {_SIZES} -> {', '.join(POSTPROCESSED)}", is_detr, serve
)


def _from_heads(size: Size, person: int) -> Part:
    parts: list[Part] = [
        columns("network/pred_boxes", 0, 2, "center_shares"),
        columns("network/pred_boxes", 2, 4, "size_shares"),
        (
            [
                helper.make_node("Mul", ["center_shares", "decode/size"], ["centers"]),
                helper.make_node("Mul", ["size_shares", "decode/size"], ["sizes"]),
            ],
            {"decode/size": np.array(size, np.float32)},
        ),
        corners("centers", "sizes"),
        column("network/logits", person, "person"),
        ([helper.make_node("Sigmoid", ["person"], ["scores"])], {}),
    ]
    return joined(parts)


def _from_labels(person: int) -> Part:
    nodes = [
        helper.make_node("Identity", ["network/boxes"], ["boxes"]),
        helper.make_node("Cast", ["network/labels"], ["labels"], to=TensorProto.INT64),
        helper.make_node("Equal", ["labels", "decode/person"], ["is_person"]),
        helper.make_node("Where", ["is_person", "network/scores", "decode/nobody"], ["scores"]),
    ]
    return nodes, {"decode/person": np.array(person), "decode/nobody": np.array(0.0, np.float32)}


def _bake_target_sizes(model: onnx.ModelProto, size: Size) -> None:
    """Replace the input `orig_target_sizes` by the constant size of the picture input, one row for each picture."""
    values = {value.name: value for value in model.graph.input}
    if _SIZES not in values:
        return
    model.graph.input.remove(values[_SIZES])
    source = model.graph.input[0].name
    kind = values[_SIZES].type.tensor_type.elem_type
    dtype = np.float32 if kind == TensorProto.FLOAT else np.int64
    graph_edit.constant(model, f"{_SIZES}/one", np.array([size], dtype))
    for name, value in (("first", [0]), ("end", [1]), ("pair", [2])):
        graph_edit.constant(model, f"{_SIZES}/{name}", value)
    graph_edit.insert_first(
        model,
        [
            helper.make_node("Shape", [source], [f"{_SIZES}/shape"]),
            helper.make_node("Slice", [f"{_SIZES}/shape", f"{_SIZES}/first", f"{_SIZES}/end"], [f"{_SIZES}/batch"]),
            helper.make_node("Concat", [f"{_SIZES}/batch", f"{_SIZES}/pair"], [f"{_SIZES}/all"], axis=0),
            helper.make_node("Expand", [f"{_SIZES}/one", f"{_SIZES}/all"], [_SIZES]),
        ],
    )
