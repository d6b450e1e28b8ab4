"""A pose network's ONNX file -> its served form: uint8 BGR crops in, SimCC rows out, dynamic batch."""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose, helper

from ensemble.geometry import TopDownCrop
from ensemble.keypoints import keypoint_set, keypoint_set_of_length
from ensemble.networks import SimCC
from ensemble.pipelines.top_down import TopDownNetwork
from export import graph_edit, metadata, network_file
from export.families.cigpose.variants import MEAN, STD
from export.flip import with_flip_test

OUTPUTS = ("simcc_x", "simcc_y")
Statistics = NDArray[np.float32]
Rows = dict[str, tuple[int, int]]  # output name -> (K, bins)


@dataclass(frozen=True)
class PoseOptions:
    """What a pose file may leave unsaid.

    Attributes:
        input_size: (w, h) of the crop, for files that leave it open.
        outputs: names of the rows along x and along y, for files where neither names nor shapes tell.
        flip_test: average with the mirrored crop inside the graph; doubles the work.
    """

    input_size: tuple[int, int] | None = None
    outputs: tuple[str, str] | None = None
    flip_test: bool = False


@dataclass(frozen=True)
class ServedNetwork:
    """A network ready to be served: what the graph must know of it, and its ONNX model."""

    network: TopDownNetwork
    model: onnx.ModelProto


def serve_pose_file(path: Path, options: PoseOptions | None = None) -> ServedNetwork:
    """Read a CIGPose (or any other MMPose SimCC) ONNX file and fold the preprocessing into it.

    The file has one input [batch, 3, H, W] of normalised RGB and two outputs, SimCC rows along x and y, float32 or
    float16. Folded in: layout, colour order, mean and standard deviation (the metadata's, else MMPose's). The batch
    axis is opened when it is fixed; if a batch of two then differs from two single runs, `max_batch_size` stays 1.

    Raises:
        ValueError: the file is no such network (the message says what it is instead), contradicts itself, or leaves
            something open (the message names the option that says it).
    """
    options = options or PoseOptions()
    model = graph_edit.load(path)
    meta = metadata.read(model)
    stated = (meta["input_w"], meta["input_h"]) if {"input_w", "input_h"} <= meta.keys() else None
    size = network_file.fix_size(path, model, stated or options.input_size, "--input-size")
    network_file.refuse_other_inputs(path, model)
    network_file.with_float32_ends(model)
    rows = _rows(path, model)
    names = _order(path, rows, size, options.outputs)
    count, bins = rows[names[0]][0], (rows[names[0]][1], rows[names[1]][1])
    _check_metadata(path, meta, size, count, bins)
    named_set = _keypoint_set(path, meta, count)
    mean, std = (np.array(meta.get(key, default), np.float32) for key, default in (("mean", MEAN), ("std", STD)))
    fold = partial(_fold, names=names, size=size, statistics=(mean, std), shape=(count, *bins))
    opened, limit = graph_edit.open_batch_axis(model), {}
    served = fold(opened)
    merges = graph_edit.batches_correctly(served)
    if not merges:
        served, limit = fold(model), {"max_batch_size": 1}
    if options.flip_test:
        _refuse_flip_test(path, merges, meta)
        served = fold(with_flip_test(opened, names, (count, *bins), keypoint_set(named_set).flip_indices))
        meta |= {"flip_test": True}
    source = {"source_file": path.name, "source_sha256": graph_edit.sha256(path)}
    source |= {key: str(meta[key]) for key in metadata.PROVENANCE if key in meta}
    network = TopDownNetwork(path.stem, named_set, TopDownCrop(size), SimCC(bins), source=source, **limit)
    return ServedNetwork(network, served)


def _rows(path: Path, model: onnx.ModelProto) -> Rows:
    found = {name: value.shape for name, value in network_file.answers(model).items()}
    if len(found) != 2 or any(len(shape) != 2 for shape in found.values()) or len({s[0] for s in found.values()}) != 1:
        listing = ", ".join(f"{name} {[1, *shape]}" for name, shape in found.items())
        raise ValueError(
            f"{path}: answers {listing}; a pose network answers two, SimCC rows [batch, K, bins] along x and y"
        )
    return {name: (shape[0], shape[1]) for name, shape in found.items()}


def _order(path: Path, rows: Rows, size: tuple[int, int], asked: tuple[str, str] | None) -> tuple[str, str]:
    """Return the names of the rows along x and y: as asked for, else as the names say, else as the shapes say."""
    first, second = rows
    orders = [(first, second), (second, first)]
    fitting = [(x, y) for x, y in orders if rows[x][1] * size[1] == rows[y][1] * size[0]]
    told = [(x, y) for x, y in orders if _is_axis(x, "x") and _is_axis(y, "y")]
    if asked is not None and asked not in orders:
        raise ValueError(f"{path}: its outputs are {first} and {second}, not {' and '.join(asked)}")
    chosen = [asked] if asked else told or fitting
    if not fitting or (len(chosen) == 1 and chosen[0] not in fitting):
        bins = ", ".join(f"{name} {shape[1]} bins" for name, shape in rows.items())
        raise ValueError(f"{path}: {bins} for {size[0]}x{size[1]} pixels: x and y must have one split ratio")
    if len(chosen) != 1:
        raise ValueError(
            f"{path}: neither names nor shapes tell which of {first} and {second} runs along x; "
            f"say it with --simcc-outputs {first},{second} or {second},{first}"
        )
    return chosen[0]


def _is_axis(name: str, axis: str) -> bool:
    """Tell whether a name ends in the letter of the axis, standing alone: `simcc_x`, `pred.x`, `x`."""
    return re.search(rf"(^|[^a-z]){axis}$", name.lower()) is not None


def _check_metadata(path: Path, meta: dict[str, Any], size: tuple[int, int], count: int, bins: tuple[int, int]) -> None:
    is_so = {"input_w": size[0], "input_h": size[1], "split_ratio": bins[0] / size[0], "num_keypoints": count}
    wrong = [f"{key} {meta[key]!r}, is {value:g}" for key, value in is_so.items() if meta.get(key, value) != value]
    if wrong:
        raise ValueError(f"{path}: the metadata contradicts the network: says {'; says '.join(wrong)}")


def _keypoint_set(path: Path, meta: dict[str, Any], count: int) -> str:
    try:
        named = keypoint_set(meta["keypoint_set"]) if "keypoint_set" in meta else keypoint_set_of_length(count)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if len(named) != count:
        raise ValueError(f"{path}: the metadata says {named.name}, which has {len(named)} points, not {count}")
    return named.name


def _refuse_flip_test(path: Path, merges: bool, meta: dict[str, Any]) -> None:
    if meta.get("flip_test"):
        raise ValueError(f"{path}: averages with the mirrored crop already; leave --flip-test out")
    if not merges:
        raise ValueError(
            f"{path}: a batch of two fails or differs from two single runs, and the flip test runs every crop with its "
            "mirror image; export the network with a dynamic batch axis or leave --flip-test out"
        )


def _fold(
    model: onnx.ModelProto,
    names: tuple[str, str],
    size: tuple[int, int],
    statistics: tuple[Statistics, Statistics],
    shape: tuple[int, int, int],
) -> onnx.ModelProto:
    """Return the model from uint8 crops to `simcc_x` and `simcc_y`; `shape` is K and the bins along x and y."""
    model = compose.add_prefix(model, "network/")
    inner = model.graph.input[0].name
    nodes = graph_edit.uint8_input(model, "crops", "bgr", size)
    channels = graph_edit.constant(model, "rgb_of_bgr", [2, 1, 0])
    mean, std = (
        graph_edit.constant(model, name, values.reshape(1, 3, 1, 1))
        for name, values in zip(("mean_rgb", "std_rgb"), statistics, strict=True)
    )
    nodes += [
        helper.make_node("Gather", ["bgr", channels], ["rgb"], axis=1),
        helper.make_node("Sub", ["rgb", mean], ["centered"]),
        helper.make_node("Div", ["centered", std], [inner]),
    ]
    graph_edit.insert_first(model, nodes)
    for inside, outside in zip(names, OUTPUTS, strict=True):
        model.graph.node.append(helper.make_node("Identity", [f"network/{inside}"], [outside]))
    count, *bins = shape
    graph_edit.set_outputs(model, {name: [count, width] for name, width in zip(OUTPUTS, bins, strict=True)})
    return model
