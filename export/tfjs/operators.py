"""TensorFlow's operators -> ONNX's: those that the networks of `networks.py` use, and no others."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from export.tfjs.draft import CHANNELS_FIRST, Draft, Value
from export.tfjs.graph_model import Node

Operator = Callable[[Draft, Node], Value]  # it returns the first output
_PADDINGS = ("SAME", "VALID")


def convert(draft: Draft, node: Node) -> None:
    """Add a node, and the values of its outputs, to the draft.

    Raises:
        ValueError: the operator, or one of its options, is unknown.
    """
    if node.op not in _OPERATORS:
        raise ValueError(f"{node.name}: operator {node.op} is unknown; known: {', '.join(sorted(_OPERATORS))}")
    draft.values[node.name] = _OPERATORS[node.op](draft, node)


def _convolution(draft: Draft, node: Node) -> Value:
    """Convert a convolution with the bias and the activation that are fused to it."""
    source, kernel = _picture(draft, node), draft.weights[node.inputs[1]]
    groups = source.shape[3] // kernel.shape[2]
    kernel = kernel.transpose(3, 2, 0, 1)
    if "Depthwise" in node.op:  # [height, width, channels, multiplier]: one group a channel
        groups = kernel.shape[1]
        kernel = kernel.transpose(1, 0, 2, 3).reshape(-1, 1, *kernel.shape[2:])
    fused, inputs = list(node.attributes.get("fused_ops", ())), [source.name, draft.constant(node.inputs[1], kernel)]
    if fused and fused.pop(0) != "BiasAdd":
        raise ValueError(f"{node.name}: fused operators {node.attributes['fused_ops']}; the first must be BiasAdd")
    inputs += [draft.constant(name, draft.weights[name]) for name in node.inputs[2:3]]
    sizes, window = _window(node, source, kernel.shape[2:])
    value = draft.add("Conv", inputs, (1, *sizes, kernel.shape[0]), CHANNELS_FIRST, group=groups, **window)
    for name in fused:
        value = _activation(draft, name, node, value)
    return value


def _max_pool(draft: Draft, node: Node) -> Value:
    source = _picture(draft, node)
    sizes, window = _window(node, source, node.attributes["ksize"][1:3])
    return draft.add("MaxPool", [source.name], (1, *sizes, source.shape[3]), CHANNELS_FIRST, **window)


def _picture(draft: Draft, node: Node) -> Value:
    """Return the first input of an operator with a window, channels first."""
    layout = node.attributes.get("data_format", "NHWC")
    if layout != "NHWC":
        raise ValueError(f"{node.name}: data format {layout}; known: NHWC")
    return draft.stored(draft.values[node.inputs[0]], CHANNELS_FIRST)


def _window(node: Node, source: Value, extents: Sequence[int]) -> tuple[list[int], dict[str, Any]]:
    """Return height and width after a moving window, and ONNX's attributes. SAME adds an odd pixel at the end."""
    padding = node.attributes["padding"]
    if padding not in _PADDINGS:
        raise ValueError(f"{node.name}: padding {padding}; known: {', '.join(_PADDINGS)}")
    strides, dilations = (node.attributes.get(name, (1, 1, 1, 1))[1:3] for name in ("strides", "dilations"))
    sizes, missing = [], []
    for side, extent, stride, dilation in zip(source.shape[1:3], extents, strides, dilations, strict=True):
        covered = (extent - 1) * dilation + 1
        size = math.ceil(side / stride) if padding == "SAME" else (side - covered) // stride + 1
        sizes.append(size)
        missing.append(max((size - 1) * stride + covered - side, 0))
    pads = [*(count // 2 for count in missing), *(count - count // 2 for count in missing)]
    return sizes, {"kernel_shape": list(extents), "strides": strides, "dilations": dilations, "pads": pads}


def _activation(draft: Draft, name: str, node: Node, value: Value) -> Value:
    inputs, attributes = [value.name], {}
    if name == "Relu6":
        inputs += [draft.constant(f"relu6/{bound}", np.array(bound, np.float32)) for bound in (0, 6)]
    elif name == "LeakyRelu":
        attributes = {"alpha": node.attributes.get("leakyrelu_alpha", node.attributes.get("alpha", 0.2))}
    elif name not in ("Relu", "Sigmoid"):
        raise ValueError(f"{node.name}: activation {name} is unknown")
    return draft.add("Clip" if name == "Relu6" else name, inputs, value.shape, value.order, **attributes)


def _activated(draft: Draft, node: Node) -> Value:
    return _activation(draft, node.op, node, draft.values[node.inputs[0]])


def _arithmetic(op: str) -> Operator:
    def convert(draft: Draft, node: Node) -> Value:
        """Convert an operator on two tensors, or on one and a constant that is spread over its last axes."""
        first = next(draft.values[name] for name in node.inputs if name in draft.values)
        names = [
            draft.stored(draft.values[name], first.order).name if name in draft.values else _spread(draft, name, first)
            for name in node.inputs
        ]
        shapes = [draft.values[name].shape if name in draft.values else () for name in node.inputs]
        return draft.add(op, names, np.broadcast_shapes(*shapes, first.shape), first.order)

    return convert


def _spread(draft: Draft, name: str, like: Value) -> str:
    """Add a constant whose axes are those of a tensor, in its order."""
    array = draft.weights[name]
    array = array.reshape((1,) * (len(like.shape) - array.ndim) + array.shape).transpose(like.order)
    return draft.constant(f"{name}/{''.join(map(str, like.order))}", array)


def _resized(draft: Draft, node: Node) -> Value:
    source = _picture(draft, node)
    height, width = (int(size) for size in draft.weights[node.inputs[1]])
    scales = np.array([1, 1, _scale(source.shape[1], height), _scale(source.shape[2], width)], np.float32)
    corners, half = (node.attributes.get(name, False) for name in ("align_corners", "half_pixel_centers"))
    return draft.add(
        "Resize",
        [source.name, "", draft.constant(f"{node.name}/scales", scales)],
        (1, height, width, source.shape[3]),
        CHANNELS_FIRST,
        mode="linear",
        coordinate_transformation_mode="align_corners" if corners else "half_pixel" if half else "asymmetric",
    )


def _scale(before: int, after: int) -> np.float32:
    """Return the smallest float32 from `after / before` on with which ONNX gets `after`: it rounds sizes down."""
    ratio = np.float32(after / before)
    return ratio if int(before * ratio) == after else np.nextafter(ratio, np.float32(np.inf))


def _concatenation(draft: Draft, node: Node) -> Value:
    values = [draft.values[name] for name in node.inputs[:-1]]
    order = values[0].order
    axis = int(draft.weights[node.inputs[-1]]) % len(order)
    shape = list(values[0].shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    names = [draft.stored(value, order).name for value in values]
    return draft.add("Concat", names, shape, order, axis=order.index(axis))


def _padded(draft: Draft, node: Node) -> Value:
    source, amounts = draft.values[node.inputs[0]], draft.weights[node.inputs[1]]
    shape = [side + int(sum(around)) for side, around in zip(source.shape, amounts, strict=True)]
    inputs = [source.name, draft.constant(f"{node.name}/pads", amounts[list(source.order)].T.ravel().astype(np.int64))]
    inputs += [draft.constant(name, draft.weights[name]) for name in node.inputs[2:]]  # zeros, if it names no value
    return draft.add("Pad", inputs, shape, source.order)


def _split(draft: Draft, node: Node) -> Value:
    """Convert a division into parts of stated sizes; the parts after the first are called NAME:1, NAME:2, ..."""
    source, sizes = draft.values[node.inputs[0]], draft.weights[node.inputs[1]]
    axis = int(draft.weights[node.inputs[2]]) % len(source.shape)
    stored = draft.constant(f"{node.name}/axis", np.array([source.order.index(axis)]))
    for i, end in enumerate(np.cumsum(sizes)):
        bounds = [draft.constant(f"{node.name}/{place}", np.array([place])) for place in (end - sizes[i], end)]
        shape = (*source.shape[:axis], int(sizes[i]), *source.shape[axis + 1 :])
        part = draft.add("Slice", [source.name, *bounds, stored], shape, source.order)
        draft.values[f"{node.name}:{i}"] = part
    return draft.values[f"{node.name}:0"]


def _transposed(draft: Draft, node: Node) -> Value:
    """Convert a transposition: the data stays where it is."""
    source, moved = draft.values[node.inputs[0]], [int(axis) for axis in draft.weights[node.inputs[1]]]
    shape = tuple(source.shape[axis] for axis in moved)
    return Value(source.name, shape, tuple(moved.index(axis) for axis in source.order))


_OPERATORS: dict[str, Operator] = {
    **dict.fromkeys(("Conv2D", "DepthwiseConv2dNative", "_FusedConv2D", "FusedDepthwiseConv2dNative"), _convolution),
    **dict.fromkeys(("LeakyRelu", "Sigmoid"), _activated),
    **dict.fromkeys(("Add", "AddV2"), _arithmetic("Add")),
    **dict.fromkeys(("Pad", "PadV2"), _padded),
    "Sub": _arithmetic("Sub"),
    "Mul": _arithmetic("Mul"),
    "MaxPool": _max_pool,
    "ResizeBilinear": _resized,
    "ConcatV2": _concatenation,
    "Transpose": _transposed,
    "SplitV": _split,
}
