"""TensorFlow.js graph models -> ONNX, without TensorFlow: the operators of `networks.py`'s networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

import onnx

from export.tfjs.draft import Draft, Value
from export.tfjs.graph_model import GraphModel, Node
from export.tfjs.operators import convert


@dataclass(frozen=True)
class Output:
    """An output of the ONNX file.

    Attributes:
        tensor: TensorFlow's name.
        order: TensorFlow's axes in the order in which the ONNX file has them.
        rows: whether the axes between the first and the last become one.
    """

    tensor: str
    order: tuple[int, ...]
    rows: bool = False


def to_onnx(model: GraphModel, source: str, value: Value, outputs: Mapping[str, Output]) -> onnx.ModelProto:
    """Return the part of a graph between one tensor and some others, as an ONNX model with a dynamic batch axis.

    Args:
        model: the graph.
        source: TensorFlow's name of the tensor that becomes the input.
        value: what the input is.
        outputs: by name in the ONNX file.

    Raises:
        ValueError: the outputs need another input, or an operator is unknown.
    """
    draft = Draft(model.weights)
    draft.values[source] = value
    for node in _needed(model, source, [output.tensor for output in outputs.values()]):
        convert(draft, node)
    return draft.model(value, {name: _end(draft, output) for name, output in outputs.items()})


def _end(draft: Draft, output: Output) -> Value:
    value = draft.stored(draft.values[output.tensor], output.order)
    return draft.rows(value) if output.rows else value


def _needed(model: GraphModel, source: str, tensors: Sequence[str]) -> list[Node]:
    """Return the nodes that compute the tensors, in order of use."""
    inputs: dict[str, list[str]] = {}
    waiting = [_owner(tensor) for tensor in tensors]
    while waiting:
        name = waiting.pop()
        if name in inputs or name in model.weights or name == source:
            continue
        if name not in model.nodes or not model.nodes[name].inputs:
            raise ValueError(f"{name} does not follow from {source}")
        inputs[name] = [_owner(tensor) for tensor in model.nodes[name].inputs]
        waiting += inputs[name]
    return [model.nodes[name] for name in TopologicalSorter(inputs).static_order() if name in inputs]


def _owner(tensor: str) -> str:
    return tensor.partition(":")[0]
