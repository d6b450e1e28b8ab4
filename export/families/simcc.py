"""SimCC ONNX files of MMPose's form (CIGPose, RTMPose, DWPose, RTMW ...) -> their served form."""

import re
from pathlib import Path

import onnx

from ensemble.geometry import Size
from ensemble.networks import SimCC
from export import graph_edit
from export.families import Family, PoseOptions, Served
from export.families.top_down import CropFile, check_metadata, read_crop_file, serve_crop_file
from export.flip import mirrored_columns

OUTPUTS = ("simcc_x", "simcc_y")
Rows = dict[str, tuple[int, int]]  # output name -> (K, bins)


def is_simcc(model: onnx.ModelProto) -> bool:
    """Return whether the model has two outputs that can be rows of bins. Exporters may leave shapes out."""
    shapes = graph_edit.shapes(model.graph.output)
    return len(shapes) == 2 and all(len(shape) in (0, 3) for shape in shapes)


def serve(path: Path, model: onnx.ModelProto, options: PoseOptions) -> Served:
    """Serve a file whose input is crops and whose two outputs are SimCC rows along x and y, float32 or float16.

    Raises:
        ValueError: the file is no such network (the message lists its outputs), contradicts itself, or leaves
            something open (the message names the option that sets it).
    """
    file = read_crop_file(path, model, options)
    rows = _rows(file)
    x, y = _order(path, rows, file.size, options.outputs)
    bins = rows[x][1], rows[y][1]
    check_metadata(file, {"split_ratio": bins[0] / file.size[0]})
    outputs, columns = dict(zip(OUTPUTS, (x, y), strict=True)), {x: mirrored_columns(bins[0])}
    return serve_crop_file(file, SimCC(bins), rows[x][0], options, outputs=outputs, columns=columns)


FAMILY = Family("simcc", serve, "crops [batch, 3, H, W] -> two SimCC rows [batch, K, bins]", is_simcc)


def _rows(file: CropFile) -> Rows:
    found = {name: value.shape for name, value in file.answers.items()}
    if [len(shape) for shape in found.values()] != [2, 2] or len({shape[0] for shape in found.values()}) != 1:
        listing = ", ".join(f"{name} {[1, *shape]}" for name, shape in found.items())
        raise ValueError(f"{file.path}: the outputs are {listing}; a SimCC network has two, [batch, K, bins]")
    return {name: (shape[0], shape[1]) for name, shape in found.items()}


def _order(path: Path, rows: Rows, size: Size, asked: tuple[str, str] | None) -> tuple[str, str]:
    """Return the names of the rows along x and y: from the options, else by the names, else by the shapes."""
    first, second = rows
    orders = [(first, second), (second, first)]
    fitting = [(x, y) for x, y in orders if rows[x][1] * size[1] == rows[y][1] * size[0]]
    by_name = [(x, y) for x, y in orders if _is_axis(x, "x") and _is_axis(y, "y")]
    if asked is not None and asked not in orders:
        raise ValueError(f"{path}: its outputs are {first} and {second}, not {' and '.join(asked)}")
    chosen = [asked] if asked else by_name or fitting
    if not fitting or (len(chosen) == 1 and chosen[0] not in fitting):
        bins = ", ".join(f"{name} {shape[1]} bins" for name, shape in rows.items())
        raise ValueError(f"{path}: {bins} for {size[0]}x{size[1]} pixels: x and y must have one split ratio")
    if len(chosen) != 1:
        raise ValueError(
            f"{path}: neither names nor shapes show which of {first} and {second} runs along x; "
            f"choose with --simcc-outputs {first},{second} or {second},{first}"
        )
    return chosen[0]


def _is_axis(name: str, axis: str) -> bool:
    """Return whether a name ends in the letter of the axis as a separate word: `simcc_x`, `pred.x`, `x`."""
    return re.search(rf"(^|[^a-z]){axis}$", name.lower()) is not None
