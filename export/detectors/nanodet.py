"""A NanoDet ONNX file with separate heads, as its authors' exporter writes them -> its served form.

Each stride has two outputs: `cls_pred_stride_S` [batch, cells, classes], and `dis_pred_stride_S` [batch, cells,
4 * bins]. For each side of the box, the latter holds a distribution over its distance from the cell's centre: 0, 1, ...
strides. The picture's colours are BGR, as in training; mean and standard deviation are the metadata's, else those of
the authors' configurations with ShuffleNet.

The authors put a scaled picture into the middle, before black; some networks get it stretched. Here all get letterboxed
ones, as every detector of this contract does, so the published accuracy does not apply exactly.

Source: github.com/RangiLyu/nanodet (Apache-2.0), NanoDetHead; paper: Generalized Focal Loss, arXiv 2006.04388.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from ensemble.geometry import Size
from export import metadata, network_file
from export.detectors import DetectorFamily, DetectorOptions
from export.detectors.contract import Decoding, Part, ServedDetector, column, fold, joined
from export.detectors.yolox import grid

CLASSES, DISTANCES = "cls_pred_stride_{}", "dis_pred_stride_{}"
MEAN = (103.53, 116.28, 123.675)  # BGR
STD = (57.375, 57.12, 58.395)
_THRESHOLD = 0.3  # the scores state the box's expected overlap, too; people on photos rarely reach 0.5
_SIDES = 4


class Head(NamedTuple):
    """Facts about a NanoDet file, read from the file."""

    strides: tuple[int, ...]
    classes: int
    bins: int
    logits: bool  # whether the class outputs are before the sigmoid


def is_nanodet(model: onnx.ModelProto) -> bool:
    """Return whether the outputs are pairs of classes and distances."""
    return bool(_strides(model))


def serve(path: Path, model: onnx.ModelProto, size: Size, options: DetectorOptions) -> ServedDetector:
    """Serve a file with a picture input [1, 3, H, W].

    Raises:
        ValueError: the outputs have other shapes, there is no class `options.person`, or mean or standard deviation
            in the metadata are no numbers.
    """
    network_file.refuse_other_inputs(path, model)
    head = _head(path, model, size)
    if not 0 <= options.person < head.classes:
        raise ValueError(f"{path}: class {options.person} does not exist; the file has {head.classes} classes")
    meta = metadata.read(model)
    mean, std = (
        np.array(metadata.numbers(path, meta, name, known, above), np.float32).reshape(1, 3, 1, 1)
        for name, known, above in (("mean", MEAN, -np.inf), ("std", STD, 0.0))
    )
    nodes, constants = joined([_boxes(size, head), _scores(head, options.person)])
    decoding = Decoding(
        form=f"nanodet, strides {', '.join(map(str, head.strides))}, {head.classes} classes",
        candidates=len(grid(size, head.strides)[0]),
        before=lambda inner: [
            helper.make_node("Sub", ["pixels", "mean_bgr"], ["centered"]),
            helper.make_node("Div", ["centered", "std_bgr"], [inner]),
        ],
        after=nodes,
        constants=constants | {"mean_bgr": mean, "std_bgr": std},
        bbox_threshold=_THRESHOLD,
    )
    return fold(path, model, size, decoding)


FAMILY = DetectorFamily(
    ("nanodet",), f"picture -> for each stride S {CLASSES.format('S')}, {DISTANCES.format('S')}", is_nanodet, serve
)


def _strides(model: onnx.ModelProto) -> tuple[int, ...]:
    """Return the strides in order; none when the outputs are not pairs of classes and distances."""
    names = {value.name for value in model.graph.output}
    strides = sorted(int(match[1]) for name in names if (match := re.fullmatch(CLASSES.format(r"(\d+)"), name)))
    pairs = {form.format(stride) for stride in strides for form in (CLASSES, DISTANCES)}
    return tuple(strides) if names == pairs else ()


def _head(path: Path, model: onnx.ModelProto, size: Size) -> Head:
    found, strides = network_file.answers(path, model), _strides(model)
    classes = [found[CLASSES.format(stride)] for stride in strides]
    distances = [found[DISTANCES.format(stride)] for stride in strides]
    cells = [len(grid(size, (stride,))[0]) for stride in strides]
    count, columns = classes[0].shape[-1], distances[0].shape[-1]
    right = [(number, count) for number in cells], [(number, columns) for number in cells]
    if ([value.shape for value in classes], [value.shape for value in distances]) != right or columns % _SIDES:
        listing = ", ".join(f"{name} {[1, *value.shape]}" for name, value in found.items())
        raise ValueError(
            f"{path}: the outputs are {listing}; a NanoDet of {size[0]}x{size[1]} pixels and these strides has "
            f"{', '.join(map(str, cells))} cells, and for each side as many bins"
        )
    logits = any(value.min() < 0 or value.max() > 1 for value in classes)
    return Head(strides, count, columns // _SIDES, logits)


def _scores(head: Head, person: int) -> Part:
    names = [f"network/{CLASSES.format(stride)}" for stride in head.strides]
    nodes = [helper.make_node("Concat", names, ["classes"], axis=1)]
    picked, constants = column("classes", person, "person")
    nodes += [*picked, helper.make_node("Sigmoid" if head.logits else "Identity", ["person"], ["scores"])]
    return nodes, constants


def _boxes(size: Size, head: Head) -> Part:
    """Return nodes from the distributions to `boxes`: the mean distance of each side, from the cell's centre."""
    cells, strides = grid(size, head.strides)
    centers = (cells + np.float32(0.5)) * strides
    outwards = strides * np.array([-1, -1, 1, 1], np.float32)
    names = [f"network/{DISTANCES.format(stride)}" for stride in head.strides]
    constants: dict[str, NDArray[np.generic]] = {
        "decode/sides": np.array([0, len(cells), _SIDES, head.bins]),
        "decode/bins": np.arange(head.bins, dtype=np.float32),
        "decode/outwards": outwards,
        "decode/centers": np.tile(centers, 2),
    }
    nodes = [
        helper.make_node("Concat", names, ["distances"], axis=1),
        helper.make_node("Reshape", ["distances", "decode/sides"], ["logits_by_side"]),
        helper.make_node("Softmax", ["logits_by_side"], ["shares"], axis=3),
        helper.make_node("MatMul", ["shares", "decode/bins"], ["sides_in_cells"]),
        helper.make_node("Mul", ["sides_in_cells", "decode/outwards"], ["offsets"]),
        helper.make_node("Add", ["offsets", "decode/centers"], ["boxes"]),
    ]
    return nodes, constants
