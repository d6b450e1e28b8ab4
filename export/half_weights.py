"""Stores the weights of an ONNX file in float16, while the computation stays in float32."""

from collections.abc import Collection

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export import graph_edit

_SMALLEST = 1024  # number of elements; halving smaller tensors, such as biases and scales, saves too little


def store_half(model: onnx.ModelProto, kept: Collection[str] = ()) -> onnx.ModelProto:
    """Return the model with each large float32 weight as float16, followed by a Cast to float32 of the old name.

    Args:
        model: to copy.
        kept: names of weights that stay as they are.

    Raises:
        ValueError: a weight is outside the range of float16 (the message names it).
    """
    halved = onnx.ModelProto()
    halved.CopyFrom(model)
    casts = []
    for tensor in halved.graph.initializer:
        small = np.prod(tensor.dims) < _SMALLEST
        if tensor.data_type != onnx.TensorProto.FLOAT or small or tensor.name in kept:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        largest = float(np.abs(values).max())
        if largest > np.finfo(np.float16).max:
            raise ValueError(f"{name} reaches {largest:.3g}, which float16 cannot hold")
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}/float16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    graph_edit.insert_first(halved, casts)
    return halved


def restore_float(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with its weights in float32 again: the inverse of `store_half`, except for the rounding."""
    restored = onnx.ModelProto()
    restored.CopyFrom(model)
    stored = {tensor.name: tensor for tensor in restored.graph.initializer}
    rest = []
    for node in restored.graph.node:
        weight = stored.get(node.input[0]) if node.op_type == "Cast" else None
        if weight is None or weight.data_type != onnx.TensorProto.FLOAT16:
            rest.append(node)
        else:
            values = numpy_helper.to_array(weight).astype(np.float32)
            weight.CopyFrom(numpy_helper.from_array(values, node.output[0]))
    del restored.graph.node[:]
    restored.graph.node.extend(rest)
    return restored
