"""A YOLOX ONNX file as Megvii's tool writes it, raw or decoded -> its served form.

Megvii publishes raw files (nano, tiny, s, m, l, x): centre offsets and log sizes in grid cells. With the option
`--decode_in_inference` the same tool writes centres and sizes in pixels. Names and shapes are the same in both forms,
so `is_decoded` recognises the form by the numbers.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from ensemble.geometry import Size
from export import graph_edit, network_file
from export.detectors import DetectorFamily, DetectorOptions
from export.detectors.contract import Decoding, Part, ServedDetector, column, columns, corners, fold, joined

STRIDES = (8, 16, 32)
_RAW, _DECODED = "yolox-raw", "yolox-decoded"
_FINEST, _COARSEST = 4, 128  # strides that YOLOX and its relatives use
_GEOMETRY = 5  # columns before the classes: centre, size, objectness
_CLEARER = 4.0  # factor by which one reading of the numbers must fit better than the other
Floats = NDArray[np.float32]


class Head(NamedTuple):
    """Facts about a YOLOX file, read from the file."""

    strides: tuple[int, ...]
    classes: int
    decoded: bool


def is_yolox(model: onnx.ModelProto) -> bool:
    """Return whether the only output can be rows of candidates. Exporters may leave its shape out."""
    shapes = graph_edit.shapes(model.graph.output)
    return len(shapes) == 1 and len(shapes[0]) in (0, 3)


def serve(path: Path, model: onnx.ModelProto, size: Size, options: DetectorOptions) -> ServedDetector:
    """Serve a file with the input FP32 [1, 3, H, W] of BGR 0..255.

    The output [1, A, 5 + classes] holds centre, size, then objectness and class scores after the sigmoid. Levels are in
    order of stride, cells in row-major order.

    Raises:
        ValueError: the model is no such detector, has no class `options.person`, or its numbers do not show whether
            the boxes are decoded.
    """
    network_file.refuse_other_inputs(path, model)
    decoded = None if options.form is None else options.form == _DECODED
    person = options.person
    head, raw = _head(path, model, size, decoded), f"network/{model.graph.output[0].name}"
    if not 0 <= person < head.classes:
        raise ValueError(f"{path}: class {person} does not exist; the file has {head.classes} classes")
    nodes, constants = joined(
        [
            columns(raw, 0, 2, "xy"),
            columns(raw, 2, 4, "wh"),
            corners("xy", "wh") if head.decoded else _in_pixels(size, head.strides),
            column(raw, 4, "objectness"),
            column(raw, _GEOMETRY + person, "person"),
            ([helper.make_node("Mul", ["objectness", "person"], ["scores"])], {}),
        ]
    )
    strides = ", ".join(map(str, head.strides))
    decoding = Decoding(
        form=f"{_DECODED if head.decoded else _RAW}, strides {strides}, {head.classes} classes",
        candidates=sum(size[0] // stride * (size[1] // stride) for stride in head.strides),
        before=lambda inner: [helper.make_node("Identity", ["pixels"], [inner])],
        after=nodes,
        constants=constants,
    )
    return fold(path, model, size, decoding)


FAMILY = DetectorFamily(
    (_RAW, _DECODED), "picture [batch, 3, H, W] -> one output [batch, candidates, 5 + classes]", is_yolox, serve
)


def grid(size: Size, strides: tuple[int, ...] = STRIDES) -> tuple[Floats, Floats]:
    """Return the cell (A, 2) and the stride (A, 1) of every candidate, float32, for an input of (w, h).

    Source: Megvii YOLOX, YOLOXHead.decode_outputs (levels in order of stride, cells in row-major order).
    """
    cells, scales = [], []
    for stride in strides:
        columns_, rows = size[0] // stride, size[1] // stride
        x, y = np.meshgrid(np.arange(columns_), np.arange(rows))
        cells.append(np.stack([x, y], axis=2).reshape(-1, 2))
        scales.append(np.full((rows * columns_, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(scales).astype(np.float32)


def strides_of(size: Size, candidates: int) -> tuple[int, ...] | None:
    """Return the strides, each twice the one before, whose cells add up to `candidates`, or None."""
    powers = [_FINEST << i for i in range(_COARSEST.bit_length()) if _FINEST << i <= _COARSEST]
    for first in range(len(powers)):
        for end in range(first + 1, len(powers) + 1):
            strides = tuple(powers[first:end])
            if sum((size[0] // stride) * (size[1] // stride) for stride in strides) == candidates:
                return strides
    return None


def is_decoded(rows: Floats, size: Size, strides: tuple[int, ...]) -> bool | None:
    """Return whether YOLOX rows are in pixels (True) or in grid cells (False); None when the numbers leave it open.

    Every candidate predicts a centre near its own cell, for any picture and with any training. So in the right reading,
    the centres lie about one cell from their cells. In the wrong one, they are off by the cells' distance from the
    corner, which is tens of cells. Decoded sizes are exponentials and never negative.

    Args:
        rows: (A, 5 + classes) for any picture.
        size: (w, h) of the input.
        strides: strides of the levels.
    """
    cells, scales = grid(size, strides)
    miss_if_raw = float(np.median(np.abs(rows[:, :2])))
    miss_if_decoded = float(np.median(np.abs(rows[:, :2] / scales - cells)))
    if miss_if_decoded * _CLEARER < miss_if_raw and (rows[:, 2:4] >= 0).all():
        return True
    if miss_if_raw * _CLEARER < miss_if_decoded:
        return False
    return None


def _head(path: Path, model: onnx.ModelProto, size: Size, decoded: bool | None) -> Head:
    found = network_file.answers(path, model)
    rows = next(iter(found.values())).astype(np.float32)
    strides = strides_of(size, rows.shape[0]) if len(found) == 1 and rows.ndim == 2 else None
    if strides is None or rows.shape[1] <= _GEOMETRY:
        listing = ", ".join(f"{name} {[1, *value.shape]}" for name, value in found.items())
        expected = len(grid(size)[0])
        raise ValueError(
            f"{path}: the outputs are {listing}; a YOLOX of {size[0]}x{size[1]} pixels and strides 8, 16, 32 "
            f"has one, [batch, {expected}, 5 + classes]"
        )
    decoded = is_decoded(rows, size, strides) if decoded is None else decoded
    if decoded is None:
        raise ValueError(
            f"{path}: the numbers do not show whether the boxes are decoded; "
            f"choose with --detector-form {_RAW} or {_DECODED}"
        )
    return Head(strides, rows.shape[1] - _GEOMETRY, decoded)


def _in_pixels(size: Size, strides: tuple[int, ...]) -> Part:
    """Return nodes from offsets `xy` and log sizes `wh`, in cells, to `boxes`."""
    cells, scales = grid(size, strides)
    nodes = [
        helper.make_node("Add", ["xy", "decode/cells"], ["centers_in_cells"]),
        helper.make_node("Mul", ["centers_in_cells", "decode/strides"], ["centers"]),
        helper.make_node("Exp", ["wh"], ["sizes_in_cells"]),
        helper.make_node("Mul", ["sizes_in_cells", "decode/strides"], ["sizes"]),
    ]
    boxes, constants = corners("centers", "sizes")
    return nodes + boxes, constants | {"decode/cells": cells, "decode/strides": scales}
