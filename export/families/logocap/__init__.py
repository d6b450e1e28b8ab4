"""LOGO-CAP in plain PyTorch: bottom-up, all people of a picture in one pass, each keypoint moved by its own filter.

Paper: Learning Local-Global Contextual Adaptation for Multi-Person Pose Estimation, CVPR 2022. Original code:
github.com/cherubicXN/logocap, commit 39d104f. It has no licence file, and its headers say that it derives from DEKR
(MIT). None of it is copied, only the facts that the checkpoints fix: names, shapes, constants and the order of
operations. The licence of the published *weights*, trained on COCO, is their publishers' to state.

`variants` needs no PyTorch; `network`, `refinement`, `forms` and `export` do.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from ensemble.geometry import PaddedFit
from ensemble.keypoints import keypoint_set
from ensemble.pipelines.bottom_up import BottomUpNetwork
from ensemble.tensors import FITTED
from export import graph_edit, metadata
from export.families import Family, PoseOptions, Served
from export.families.logocap.variants import VARIANTS, WEIGHTS, Variant
from export.families.top_down import MEAN, STD

OUTPUTS = ("keypoints", "keypoint_scores", "person_scores", "center_scores")


def is_logocap(model: onnx.ModelProto) -> bool:
    """Return whether the model has the outputs of this family's files."""
    return tuple(value.name for value in model.graph.output) == OUTPUTS


def serve(path: Path, model: onnx.ModelProto, options: PoseOptions) -> Served:
    """Serve a file of normalised RGB pictures [1, 3, H, W], H and W free, as one of uint8 BGR pictures [H, W, 3].

    The flip test is part of every file, whatever the options say.

    Raises:
        ValueError: the file has another form, or leaves something open that must be known.
    """
    meta, shapes = metadata.read(model), graph_edit.shapes(model.graph.output)
    if not is_logocap(model) or graph_edit.shapes(model.graph.input) != [[1, 3, 0, 0]]:
        raise ValueError(f"{path}: {graph_edit.signature(model)}; a LOGO-CAP file has {_FORM}")
    people, count = shapes[0][:2]
    if shapes != [[people, count, 2], [people, count], [people], [people]]:
        raise ValueError(f"{path}: {graph_edit.signature(model)}; the outputs disagree on people or keypoints")
    short_side = meta.get("short_side", min(options.input_size or (0,)))
    if not short_side:
        raise ValueError(
            f"{path}: the file states no short side; set it with --input-size WIDTHxHEIGHT, whose shorter side counts"
        )
    try:
        named, fit = keypoint_set(meta.get("keypoint_set", "coco")), PaddedFit(int(short_side))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if len(named) != count:
        raise ValueError(f"{path}: keypoint set {named.name} has {len(named)} points, the network answers {count}")
    network = BottomUpNetwork(path.stem, named.name, fit, people, metadata.source(path, meta))
    mean, std = metadata.numbers(path, meta, "mean", MEAN, -np.inf), metadata.numbers(path, meta, "std", STD)
    return Served(network, {network.name: _fold(model, network, mean, std)})


def center_bias(model: onnx.ModelProto) -> float:
    """Return the bias of the centre map of an exported network."""
    return float(numpy_helper.to_array(_cls_bias(model))[-1])


def with_center_bias(model: onnx.ModelProto, value: float) -> onnx.ModelProto:
    """Return an exported network with another bias of the centre map, which decides how many candidates are people."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    tensor = _cls_bias(changed)
    array = numpy_helper.to_array(tensor).copy()
    array[-1] = value
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return changed


def _cls_bias(model: onnx.ModelProto) -> onnx.TensorProto:
    found = [tensor for tensor in model.graph.initializer if tensor.name.endswith("final_layer_cls.bias")]
    if len(found) != 1:
        raise ValueError("this is no LOGO-CAP file that `python -m export onnx` wrote")
    return found[0]


def _fold(
    model: onnx.ModelProto, network: BottomUpNetwork, mean: tuple[float, ...], std: tuple[float, ...]
) -> onnx.ModelProto:
    """Return the model with the served form's input and outputs."""
    model = compose.add_prefix(model, "network/")
    inner = model.graph.input[0].name
    sides = helper.make_tensor_value_info(FITTED.name, TensorProto.UINT8, ["height", "width", 3])
    model.graph.input[0].CopyFrom(sides)
    channels = graph_edit.constant(model, "rgb_of_bgr", [2, 1, 0])
    first = graph_edit.constant(model, "first_axis", [0])
    scaling = [
        graph_edit.constant(model, f"{name}_rgb", np.array(values, np.float32).reshape(3, 1, 1))
        for name, values in (("mean", mean), ("std", std))
    ]
    nodes = [
        helper.make_node("Transpose", [FITTED.name], ["planes"], perm=[2, 0, 1]),
        helper.make_node("Gather", ["planes", channels], ["rgb"], axis=0),
        helper.make_node("Cast", ["rgb"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["numbers", scaling[0]], ["centered"]),
        helper.make_node("Div", ["centered", scaling[1]], ["normalised"]),
        helper.make_node("Unsqueeze", ["normalised", first], [inner]),
    ]
    graph_edit.insert_first(model, nodes)
    answers = network.network.outputs
    for inside, tensor in zip(OUTPUTS, answers, strict=True):
        model.graph.node.append(helper.make_node("Identity", [f"network/{inside}"], [tensor.name]))
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims) for tensor in answers
    )
    return model


def _facts(variant: Variant) -> str:
    size = f"{(variant.parameters or 0) / 1e6:5.1f} M"
    return f"{variant.keypoints:>3} points {variant.short_side:>8} {size}  bottom-up, COCO; weights: {WEIGHTS}"


_FORM = "a picture [1, 3, H, W], H and W free -> keypoints [C, K, 2], keypoint_scores, person_scores, center_scores"
FAMILY = Family(
    "logocap",
    serve,
    _FORM,
    is_logocap,
    variants={name: _facts(variant) for name, variant in VARIANTS.items()},
    checkpoints="export.families.logocap.export",
)
