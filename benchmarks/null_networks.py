"""Networks that compute nothing, with the interfaces of real ones: what remains is the cost of the serving alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tritonclient.grpc import model_config_pb2 as pb

from ensemble.tensors import BOXES, SCORES
from ensemble.triton.stored import read_config
from export import graph_edit
from server import manifest

_OPSET = 17
_TYPES = {pb.DataType.TYPE_UINT8: TensorProto.UINT8, pb.DataType.TYPE_FP32: TensorProto.FLOAT}
_COLUMNS, _CELL = 8, (48, 56)  # a grid of people in letterbox pixels: 32 of them fit into 416 x 234


def replace_networks(repository: Path, people: int) -> None:
    """Replace the graph of every network in a repository by one that answers constants.

    Args:
        repository: folder of a model repository; its manifest is removed.
        people: number of people that the detector finds in every picture.
    """
    for path in sorted(repository.glob("*/config.pbtxt")):
        config = read_config(repository, path.parent.name)
        if config.backend == "onnxruntime":
            graph_edit.save(null_network(config, people), path.parent / "1" / "model.onnx")
    (repository / manifest.NAME).unlink(missing_ok=True)


def null_network(config: "pb.ModelConfig", people: int) -> onnx.ModelProto:
    """Return a graph with the inputs and outputs of a model's config that answers the same for every item.

    Args:
        config: config of a network.
        people: see `replace_networks`.
    """
    batch = [graph_edit.BATCH_AXIS] if config.max_batch_size else []
    graph = helper.make_graph(
        [],
        "null",
        [_value(entry, batch) for entry in config.input],
        [_value(entry, batch) for entry in config.output],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    if batch:
        graph_edit.insert_first(model, [helper.make_node("Shape", [config.input[0].name], ["items"], start=0, end=1)])
    for entry in config.output:
        answer = graph_edit.constant(model, f"{entry.name}/answer", _answer(entry.name, [*entry.dims], people))
        if not batch:
            model.graph.node.append(helper.make_node("Identity", [answer], [entry.name]))
            continue
        ones = graph_edit.constant(model, f"{entry.name}/ones", [1] * len(entry.dims))
        shape = f"{entry.name}/shape"
        model.graph.node.append(helper.make_node("Concat", ["items", ones], [shape], axis=0))
        model.graph.node.append(helper.make_node("Expand", [answer, shape], [entry.name]))
    return model


def _value(entry: "pb.ModelInput", batch: Sequence[str]) -> onnx.ValueInfoProto:
    dims = [dim if dim > 0 else f"{entry.name}_{axis}" for axis, dim in enumerate(entry.dims)]
    return helper.make_tensor_value_info(entry.name, _TYPES[entry.data_type], [*batch, *dims])


def _answer(name: str, dims: Sequence[int], people: int) -> NDArray[np.float32]:
    """Return people side by side for a detector's outputs, and a peak in the middle of the last axis for others."""
    values = np.zeros(dims, np.float32)
    if name == SCORES.name:
        values[:people] = np.linspace(0.9, 0.8, people)
    elif name == BOXES.name:
        place = np.arange(dims[0])
        corner = np.stack([place % _COLUMNS, place // _COLUMNS], axis=1) * np.array(_CELL)
        values[:] = np.hstack([corner, corner + np.array(_CELL) - 4])
    else:
        values[..., dims[-1] // 2] = 1
    return values
