"""An ONNX graph in the making, with TensorFlow's names and axes.

TensorFlow keeps the channels last, ONNX first. So each tensor has an `order`, which says which of TensorFlow's axes
each stored axis is: a transposition moves no data, and from the first convolution on the channels come first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.graph_edit import BATCH_AXIS

OPSET = 17
CHANNELS_FIRST = (0, 3, 1, 2)  # the stored axes of a picture [batch, height, width, channels]
Array = NDArray[np.generic]


@dataclass(frozen=True)
class Value:
    """A tensor of the ONNX graph.

    Attributes:
        name: its name there.
        shape: TensorFlow's shape, for a batch of one. The first axis is the batch.
        order: stored axis -> TensorFlow's axis.
    """

    name: str
    shape: tuple[int, ...]
    order: tuple[int, ...]


class Draft:
    """Nodes and constants so far, and the value of each of TensorFlow's tensors that they compute.

    Attributes:
        weights: TensorFlow's constants by name.
        values: TensorFlow's name -> the value.
    """

    def __init__(self, weights: Mapping[str, Array]):
        self.weights = weights
        self.values: dict[str, Value] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def add(
        self, op: str, inputs: Sequence[str], shape: Sequence[int], order: Sequence[int], **attributes: Any
    ) -> Value:
        """Add a node and return its output."""
        name = f"{op}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return Value(name, tuple(shape), tuple(order))

    def constant(self, name: str, array: Array) -> str:
        """Add a constant unless one of this name is there, and return the name."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def stored(self, value: Value, order: Sequence[int]) -> Value:
        """Return the value with its axes stored in this order."""
        if value.order == tuple(order):
            return value
        moved = [value.order.index(axis) for axis in order]
        return self.add("Transpose", [value.name], value.shape, order, perm=moved)

    def rows(self, value: Value) -> Value:
        """Return the value with the axes between its first and its last stored one as one."""
        sizes = [value.shape[axis] for axis in value.order]
        shape = (1, math.prod(sizes[1:-1]), sizes[-1])
        target = self.constant(f"{value.name}/rows", np.array([0, *shape[1:]]))  # 0: as many as there are
        return self.add("Reshape", [value.name, target], shape, range(3))

    def model(self, source: Value, outputs: Mapping[str, Value]) -> onnx.ModelProto:
        """Return the graph from the input `source` to the outputs by name, with a dynamic batch axis."""
        for name, value in outputs.items():
            self._nodes.append(helper.make_node("Identity", [value.name], [name], name))
        ends = [source], [Value(name, value.shape, value.order) for name, value in outputs.items()]
        graph = helper.make_graph(
            self._nodes, "tfjs", *([_info(value) for value in group] for group in ends), list(self._constants.values())
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model


def _info(value: Value) -> onnx.ValueInfoProto:
    dims = [BATCH_AXIS, *(value.shape[axis] for axis in value.order[1:])]
    return helper.make_tensor_value_info(value.name, TensorProto.FLOAT, dims)
