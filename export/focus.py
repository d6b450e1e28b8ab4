"""YOLOX's Focus layer and the convolution after it, as one strided convolution of the picture.

Focus (Megvii YOLOX, `network_blocks.py`) lays every second pixel of every second row side by side: [batch, 3, H, W] ->
[batch, 12, H/2, W/2]. A convolution of it with kernel k and padding p is one of the picture with kernel 2k, padding 2p
and stride 2. It reads the picture once, in order, and saves eight slices and a copy.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export import graph_edit

_STEP = 2
_MOVES = {"Slice", "Concat", "Constant", "Identity"}  # nodes that move pixels and compute nothing
_PLAIN = {"group": 1, "auto_pad": b"NOTSET", "dilations": [1, 1], "strides": [1, 1]}


def without_focus(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the merged convolution; the model itself if it does not begin with Focus.

    Exporters write Focus in many ways, so the nodes before the first convolution are run on numbered pixels. The
    numbers show which pixel each channel holds.

    Args:
        model: a network whose first input is a picture FP32 [batch, C, H, W] of fixed H and W.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    first = next((node for node in model.graph.node if node.op_type == "Conv"), None)
    if first is None or first.input[1] not in weights or not _is_plain(first):
        return model
    users = [name for node in model.graph.node for name in node.input]
    places = _places(model, first.input[0])
    if places is None or users.count(first.input[1]) > 1:
        return model
    ((_, channels, *_),) = graph_edit.shapes(model.graph.input)
    merged = onnx.ModelProto()
    merged.CopyFrom(model)
    kernel = numpy_helper.to_array(weights[first.input[1]])
    outputs, _, height, width = kernel.shape
    larger = np.zeros((outputs, channels, _STEP * height, _STEP * width), kernel.dtype)
    for channel, (source, row, column) in enumerate(places):
        larger[:, source, row::_STEP, column::_STEP] += kernel[:, channel]
    next(t for t in merged.graph.initializer if t.name == first.input[1]).CopyFrom(
        numpy_helper.from_array(larger, first.input[1])
    )
    node = next(node for node in merged.graph.node if node.op_type == "Conv")
    pads = _attributes(node).get("pads", [0] * 4)
    node.input[0] = merged.graph.input[0].name
    del node.attribute[:]
    node.attribute.extend(
        helper.make_attribute(name, values)
        for name, values in {
            "kernel_shape": larger.shape[2:],
            "pads": [_STEP * pad for pad in pads],
            "strides": [_STEP, _STEP],
        }.items()
    )
    return graph_edit.pruned(merged)


def _is_plain(convolution: onnx.NodeProto) -> bool:
    attributes = _attributes(convolution)
    return all(attributes.get(name, plain) == plain for name, plain in _PLAIN.items())


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _places(model: onnx.ModelProto, name: str) -> NDArray[np.intp] | None:
    """Return the (channel, row, column) of the first pixel of each channel of a tensor, or None if it is no Focus.

    Args:
        model: the network.
        name: the tensor, [batch, C', H/2, W/2] after Focus.
    """
    picture, *others = model.graph.input
    (shape,) = graph_edit.shapes([picture])
    part = graph_edit.with_outputs(model, [name])
    kinds = {node.op_type for node in part.graph.node}
    if others or not kinds or not kinds <= _MOVES or len(shape) != 4 or min(shape[1:]) < 1:
        return None
    _, channels, height, width = shape
    if height % _STEP or width % _STEP:  # the strided convolution would be a row or a column smaller
        return None
    numbered = np.arange(channels * height * width, dtype=np.float32).reshape(1, channels, height, width)
    (moved,) = graph_edit.cpu_session(part).run(None, {picture.name: numbered})
    places = np.stack(np.unravel_index(moved[0, :, 0, 0].astype(np.intp), numbered.shape[1:]), axis=1)
    if places[:, 1:].max() >= _STEP:
        return None
    expected = np.stack([numbered[0, source, row::_STEP, column::_STEP] for source, row, column in places])
    return places if np.array_equal(moved[0], expected) else None
