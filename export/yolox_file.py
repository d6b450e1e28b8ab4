"""A YOLOX ONNX file as Megvii publishes it -> its served form: uint8 picture in, boxes and person scores out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose, helper

from ensemble.graph.networks import Detector
from export import graph_edit

STRIDES = (8, 16, 32)
_PERSON = 0  # the first class of COCO


@dataclass(frozen=True)
class ServedDetector:
    """A detector ready to be served: what the graph must know of it, and its ONNX model."""

    detector: Detector
    model: onnx.ModelProto


def serve_yolox_file(path: Path) -> ServedDetector:
    """Read a raw YOLOX ONNX file and fold everything around it into the graph.

    The file has one input FP32 [batch, 3, H, W] of BGR 0..255 and one output [batch, A, 5 + classes]: centre offsets
    and log sizes in grid cells, objectness and class scores after the sigmoid, levels in order of strides 8, 16, 32.
    Folded in: uint8 and layout, the grid, corners instead of centre and size, objectness times person score.

    Raises:
        ValueError: the file is no such detector (the message says what it is instead).
    """
    model = graph_edit.load(path)
    size, candidates = _shapes(path, model)
    served = _fold(graph_edit.open_batch_axis(model), size)
    limit = {}
    if not graph_edit.batches_correctly(served):
        served, limit = _fold(model, size), {"max_batch_size": 1}
    source = {"source_file": path.name, "source_sha256": graph_edit.sha256(path)}
    return ServedDetector(Detector(size, candidates, source=source, **limit), served)


def grid(size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the cell (A, 2) and the stride (A, 1) of every candidate, float32, for an input of (w, h).

    Source: Megvii YOLOX, YOLOXHead.decode_outputs (rows first, levels in order of stride).
    """
    cells, strides = [], []
    for stride in STRIDES:
        columns, rows = size[0] // stride, size[1] // stride
        x, y = np.meshgrid(np.arange(columns), np.arange(rows))
        cells.append(np.stack([x, y], axis=2).reshape(-1, 2))
        strides.append(np.full((rows * columns, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _shapes(path: Path, model: onnx.ModelProto) -> tuple[tuple[int, int], int]:
    """Return (w, h) of the input and the number of candidates."""
    size, outputs = graph_edit.image_input(path, model), graph_edit.shapes(model.graph.output)
    candidates = len(grid(size)[0])
    if len(outputs) != 1 or len(outputs[0]) != 3 or outputs[0][1] != candidates or outputs[0][2] < 6:
        raise ValueError(
            f"{path}: outputs {outputs} (0: not fixed); "
            f"a raw YOLOX of {size[0]}x{size[1]} pixels has one, [batch, {candidates}, 5 + classes]"
        )
    return size, candidates


def _fold(model: onnx.ModelProto, size: tuple[int, int]) -> onnx.ModelProto:
    model = compose.add_prefix(model, "network/")
    inner, raw = model.graph.input[0].name, model.graph.output[0].name
    graph_edit.insert_first(model, graph_edit.uint8_input(model, "letterboxed", inner, size))
    cells, strides = grid(size)
    constants: dict[str, NDArray[np.generic]] = {
        "cells": cells,
        "strides": strides,
        "half": np.array(0.5, np.float32),
        "axis": np.array([2]),
        "0": np.array([0]),
        "2": np.array([2]),
        "4": np.array([4]),
        "objectness_index": np.array(4),
        "person_index": np.array(5 + _PERSON),
    }
    names = {key: graph_edit.constant(model, f"decode/{key}", value) for key, value in constants.items()}
    model.graph.node.extend(_decode_nodes(raw, names))
    del model.graph.output[:]
    for name, tail in (("boxes", [len(cells), 4]), ("scores", [len(cells)])):
        shape = [graph_edit.BATCH_AXIS, *tail]
        model.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    return model


def _decode_nodes(raw: str, names: dict[str, str]) -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("Slice", [raw, names["0"], names["2"], names["axis"]], ["offsets"]),
        node("Add", ["offsets", names["cells"]], ["centers_in_cells"]),
        node("Mul", ["centers_in_cells", names["strides"]], ["centers"]),
        node("Slice", [raw, names["2"], names["4"], names["axis"]], ["log_sizes"]),
        node("Exp", ["log_sizes"], ["sizes_in_cells"]),
        node("Mul", ["sizes_in_cells", names["strides"]], ["sizes"]),
        node("Mul", ["sizes", names["half"]], ["half_sizes"]),
        node("Sub", ["centers", "half_sizes"], ["top_left"]),
        node("Add", ["centers", "half_sizes"], ["bottom_right"]),
        node("Concat", ["top_left", "bottom_right"], ["boxes"], axis=2),
        node("Gather", [raw, names["objectness_index"]], ["objectness"], axis=2),
        node("Gather", [raw, names["person_index"]], ["person"], axis=2),
        node("Mul", ["objectness", "person"], ["scores"]),
    ]
