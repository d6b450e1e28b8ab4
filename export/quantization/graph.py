"""The graph side of quantisation: which nodes compute in eight bits, and how single ones return to float32."""

from collections.abc import Collection, Iterable

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from export import graph_edit
from export.focus import without_focus
from export.half_weights import restore_float

_QUANTISED = ("Conv", "Gemm")  # most of every network's work; eight bits gain nothing for other kinds of nodes
_LAYERS = (*_QUANTISED, "ConvTranspose", "MatMul")
_DECIDING = {  # a small error before one of these changes which value or place is read
    *("ArgMax", "ArgMin", "TopK", "NonZero", "NonMaxSuppression", "GridSample"),
    *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Where"),
    *("GatherND", "GatherElements", "ScatterND", "ScatterElements"),
}
_PAIR = ("QuantizeLinear", "DequantizeLinear")


def readied(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy as it is served: with float32 weights, without Focus, and with a name for every node.

    Raises:
        ValueError: the network computes in float16, or is in eight bits already.
    """
    whole = restore_float(_with_initializers(model))
    _refuse_other_precisions(whole)
    ready = without_focus(_without_aliases(whole))
    for number, node in enumerate(ready.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    return ready


def _with_initializers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with initializers in place of Constant nodes, in which some exporters store weights."""
    changed, outputs = onnx.ModelProto(), {value.name for value in model.graph.output}
    changed.CopyFrom(model)
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value" and node.output[0] not in outputs:
            changed.graph.node.remove(node)
            changed.graph.initializer.add().CopyFrom(node.attribute[0].t)
            changed.graph.initializer[-1].name = node.output[0]
    return changed


def _refuse_other_precisions(model: onnx.ModelProto) -> None:
    kinds = {node.op_type for node in model.graph.node}
    if any(kind in _PAIR or kind.startswith("QLinear") or kind.endswith("Integer") for kind in kinds):
        raise ValueError("the network is in eight bits already; quantise its float32 file")
    casts = {each.i for node in model.graph.node if node.op_type == "Cast" for each in node.attribute}
    ends = {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    stored = {tensor.data_type for tensor in model.graph.initializer}
    if TensorProto.FLOAT16 in casts | ends | stored:
        raise ValueError(
            "the network computes in float16; quantise its float32 file (`export onnx` with --precision fp32 or "
            "fp16-weights)"
        )


def _without_aliases(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without Identity nodes of weights, by which exporters share them."""
    weights = {tensor.name for tensor in model.graph.initializer}
    outputs = {value.name for value in model.graph.output}
    aliases: dict[str, str] = {}
    for node in model.graph.node:
        node.input[:] = [aliases.get(name, name) for name in node.input]
        if node.op_type == "Identity" and node.input[0] in weights and node.output[0] not in outputs:
            aliases[node.output[0]] = node.input[0]
    return graph_edit.pruned(model)


def candidates(model: onnx.ModelProto) -> list[str]:
    """Return the nodes that may compute in eight bits, in the order of the graph."""
    return [name for name, why in reasons(model).items() if not why]


def reasons(model: onnx.ModelProto) -> dict[str, str]:
    """Return why each layer with weights stays in float32; "" for one that may compute in eight bits."""
    after, sizes = _after_decisions(model), _map_sizes(model)
    weights = {tensor.name for tensor in model.graph.initializer}

    def why(node: onnx.NodeProto) -> str:
        if node.input[0] in after:
            return "they follow a decision, which a small error would change"  # CIGPose's intervention, second stages
        if node.op_type == "ConvTranspose":
            return "transposed convolutions are not quantised"
        if node.op_type not in _QUANTISED:
            return "matrix products lose much and gain little"
        if node.input[1] not in weights:
            return "their weights are computed"
        if _group(node) > 1:
            return "depthwise convolutions gain nothing"
        return "they compute one value a channel, which takes no time" if sizes.get(node.output[0]) == 1 else ""

    return {node.name: why(node) for node in model.graph.node if node.op_type in _LAYERS}


def _after_decisions(model: onnx.ModelProto) -> set[str]:
    """Return the tensors that depend on a decision about the input's values."""
    from_input, after = {value.name for value in model.graph.input}, set[str]()
    for node in model.graph.node:
        if node.op_type not in ("Shape", "Size") and from_input.intersection(node.input):
            from_input.update(node.output)
            if node.op_type in _DECIDING or after.intersection(node.input):
                after.update(node.output)
    return after


def multiplications(model: onnx.ModelProto, names: Iterable[str]) -> dict[str, float]:
    """Return the share of each node in the multiplications of these nodes."""
    weights, sizes = {tensor.name: tensor for tensor in model.graph.initializer}, _map_sizes(model)
    chosen = set(names)
    counts = {
        node.name: float(np.prod(weights[node.input[1]].dims)) * sizes.get(node.output[0], 1)
        for node in model.graph.node
        if node.name in chosen
    }
    total = sum(counts.values()) or 1.0
    return {name: count / total for name, count in counts.items()}


def with_float(quantised: onnx.ModelProto, original: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """Return the quantised model with these nodes in float32, as in the original.

    Args:
        quantised: the model with a pair of QuantizeLinear and DequantizeLinear before each node in eight bits.
        original: the float32 model that it was made from, with the same names of nodes.
        names: nodes to return to float32.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(quantised)
    sources = {node.name: node for node in original.graph.node}
    weights = {tensor.name: tensor for tensor in original.graph.initializer}
    makers = {output: node for node in changed.graph.node for output in node.output}
    present = {tensor.name for tensor in changed.graph.initializer}
    for node in changed.graph.node:
        if node.name not in names:
            continue
        node.input[0] = _unquantised(makers, node.input[0])
        for index, name in enumerate(sources[node.name].input[1:], start=1):
            kept = f"{name}/float32"
            if kept not in present:
                tensor = changed.graph.initializer.add()
                tensor.CopyFrom(weights[name])
                tensor.name = kept
                present.add(kept)
            node.input[index] = kept
    return graph_edit.pruned(changed)


def transplanted(part: onnx.ModelProto, original: onnx.ModelProto) -> onnx.ModelProto:
    """Return the original with the first part of its graph replaced by another version of that part.

    Args:
        part: the other version, whose tensors have the same names.
        original: the whole model.
    """
    made = {output for node in part.graph.node for output in node.output}
    stored = {tensor.name for tensor in part.graph.initializer}
    whole = onnx.ModelProto()
    whole.CopyFrom(original)
    del whole.graph.node[:], whole.graph.initializer[:], whole.graph.value_info[:]
    whole.graph.node.extend(part.graph.node)
    whole.graph.node.extend(node for node in original.graph.node if not made.intersection(node.output))
    whole.graph.initializer.extend(part.graph.initializer)
    whole.graph.initializer.extend(tensor for tensor in original.graph.initializer if tensor.name not in stored)
    return graph_edit.pruned(whole)


def unsigned(quantised: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with signed, shifted activations as the same numbers unsigned.

    OpenVINO has eight-bit kernels for unsigned activations with a zero point, and computes signed ones in float32.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(quantised)
    del changed.graph.value_info[:]  # it states the old types
    zero_points = {tensor.name: tensor for tensor in changed.graph.initializer}
    for name in {node.input[2] for node in changed.graph.node if node.op_type == _PAIR[0]}:
        values = numpy_helper.to_array(zero_points[name])
        if values.dtype == np.int8 and values.any():
            shifted = (values.astype(np.int16) + 128).astype(np.uint8)
            zero_points[name].CopyFrom(numpy_helper.from_array(shifted, name))
    return changed


def in_eight_bits(model: onnx.ModelProto) -> list[str]:
    """Return the nodes whose input is quantised."""
    makers = {output: node for node in model.graph.node for output in node.output}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in _QUANTISED and node.input[0] in makers and makers[node.input[0]].op_type == _PAIR[1]
    ]


def _unquantised(makers: dict[str, onnx.NodeProto], name: str) -> str:
    """Return the tensor before the pair that makes `name`."""
    while name in makers and makers[name].op_type in _PAIR:
        name = makers[name].input[0]
    return name


def _map_sizes(model: onnx.ModelProto) -> dict[str, int]:
    """Return the number of cells of each tensor [batch, C, H, W] whose size is known."""
    known = onnx.shape_inference.infer_shapes(model).graph
    values = [*known.value_info, *known.output]
    shapes = zip(values, graph_edit.shapes(values), strict=True)
    return {value.name: shape[2] * shape[3] for value, shape in shapes if len(shape) == 4 and min(shape[2:]) > 0}


def _group(node: onnx.NodeProto) -> int:
    return next((int(each.i) for each in node.attribute if each.name == "group"), 1)


def last(model: onnx.ModelProto, names: Collection[str]) -> list[str]:
    """Return the outputs of those of the nodes on which no other one depends."""
    follows: dict[str, bool] = {}  # tensor -> whether one of the nodes comes after it
    ends = []
    for node in reversed(model.graph.node):
        after = any(follows.get(output, False) for output in node.output)
        if node.name in names and not after:
            ends.append(node.output[0])
        for name in node.input:
            follows[name] = follows.get(name, False) or after or node.name in names
    return ends[::-1]
