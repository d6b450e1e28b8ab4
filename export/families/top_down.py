"""Serving of top-down files, shared by their families: the input is a normalised crop, in served form a uint8 one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose, helper

from ensemble.geometry import WARPS, Size, TopDownCrop
from ensemble.keypoints import keypoint_set, keypoint_set_of_length
from ensemble.networks import Head
from ensemble.pipelines.top_down import TopDownNetwork
from ensemble.tensors import CROPS
from export import graph_edit, metadata, network_file
from export.families import PoseOptions, Served
from export.flip import with_flip_test

MEAN = (123.675, 116.28, 103.53)  # of channels R, G, B of pixels 0..255, as in the training of MMPose's networks
STD = (58.395, 57.12, 57.375)
CHANNEL_ORDERS = ("rgb", "bgr")


@dataclass(frozen=True)
class CropFile:
    """A pose file whose first input is normalised crops [batch, 3, H, W].

    Attributes:
        path: path of the file, for messages and provenance.
        model: the model, with float32 inputs and outputs and a fixed crop size.
        meta: the file's metadata.
        size: (w, h) of the crop.
        answers: the outputs for one crop of noise by name, without the batch axis.
    """

    path: Path
    model: onnx.ModelProto
    meta: Mapping[str, Any]
    size: Size
    answers: Mapping[str, NDArray[np.generic]]

    @property
    def crop(self) -> TopDownCrop:
        """Geometry of the crops. Heat maps in UDP's form come from UDP's crops unless the metadata says otherwise."""
        (padding,) = self.numbers("padding", (TopDownCrop.padding,))
        usual = "udp" if self.meta.get("decoding") == "udp" else "affine"
        return TopDownCrop(self.size, padding, self.choice("warp", WARPS, usual))

    def choice(self, key: str, known: Sequence[str], usual: str) -> str:
        """Return the metadata's value of a key, `usual` where there is none. Raises ValueError for an unknown one."""
        value = self.meta.get(key, usual)
        if value not in known:
            raise ValueError(f"{self.path}: the metadata says {key} {value!r}; known: {', '.join(known)}")
        return str(value)

    def numbers(self, key: str, usual: Sequence[float], above: float = 0) -> tuple[float, ...]:
        """Return the metadata's number or numbers of a key, see `metadata.numbers`."""
        return metadata.numbers(self.path, self.meta, key, usual, above)


def read_crop_file(path: Path, model: onnx.ModelProto, options: PoseOptions) -> CropFile:
    """Read a file whose input is crops.

    Raises:
        ValueError: the input is something else, or the crop size is left open.
    """
    meta = metadata.read(model)
    stated = (int(meta["input_w"]), int(meta["input_h"])) if {"input_w", "input_h"} <= meta.keys() else None
    size = network_file.fix_size(path, model, stated or options.input_size, "--input-size")
    network_file.refuse_other_inputs(path, model)
    network_file.with_float32_ends(model)
    return CropFile(path, model, meta, size, network_file.answers(path, model))


def serve_crop_file(
    file: CropFile,
    head: Head,
    count: int,
    options: PoseOptions,
    *,
    outputs: Mapping[str, str],
    columns: Mapping[str, Sequence[int]] | None = None,
) -> Served:
    """Fold layout, colour order, mean and standard deviation (the metadata's, else MMPose's) into the graph.

    A fixed batch axis is made dynamic. If a batch of two then differs from two single runs, it stays fixed and
    `max_batch_size` is 1.

    Args:
        file: the file to serve.
        head: form of the served outputs.
        count: number K of keypoints.
        options: options of the command; only `flip_test` is used.
        outputs: name in served form -> name in the file.
        columns: outputs of the file whose last axis runs along x, with their columns in the flip test (see
            `with_flip_test`).

    Raises:
        ValueError: the metadata contradicts the file, no keypoint set fits, or the flip test is not possible.
    """
    check_metadata(file, {"input_w": file.size[0], "input_h": file.size[1], "num_keypoints": count})
    named_set, source = _keypoint_set(file, count), metadata.source(file.path, file.meta)
    opened, limit = graph_edit.open_batch_axis(file.model), {}
    served = _fold(file, opened, outputs)
    merges = graph_edit.batches_correctly(served)
    if not merges:
        served, limit = _fold(file, file.model, outputs), {"max_batch_size": 1}
    if options.flip_test:
        _refuse_flip_test(file, merges)
        shapes = {name: file.answers[name].shape for name in outputs.values()}
        flipped = with_flip_test(opened, shapes, columns or {}, keypoint_set(named_set).flip_indices)
        served, source = _fold(file, flipped, outputs), source | {"flip_test": "True"}
    model = TopDownNetwork(file.path.stem, named_set, file.crop, head, source=source, **limit)
    return Served(model, {model.name: served})


def check_metadata(file: CropFile, actual: Mapping[str, float]) -> None:
    """Raise ValueError when the metadata states other values than the actual ones."""
    wrong = [
        f"{key} {file.meta[key]!r}, is {value:g}" for key, value in actual.items() if file.meta.get(key, value) != value
    ]
    if wrong:
        raise ValueError(f"{file.path}: the metadata contradicts the network: says {'; says '.join(wrong)}")


def _keypoint_set(file: CropFile, count: int) -> str:
    try:
        named = file.meta.get("keypoint_set")
        found = keypoint_set(named) if named else keypoint_set_of_length(count)
    except ValueError as error:
        raise ValueError(f"{file.path}: {error}") from None
    if len(found) != count:
        raise ValueError(f"{file.path}: the metadata says {found.name}, which has {len(found)} points, not {count}")
    return found.name


def _refuse_flip_test(file: CropFile, merges: bool) -> None:
    if file.meta.get("flip_test"):
        raise ValueError(f"{file.path}: averages with the mirrored crop already; leave --flip-test out")
    if not merges:
        raise ValueError(
            f"{file.path}: a batch of two fails or differs from two single runs, and the flip test runs every crop "
            "with its mirror image; export the network with a dynamic batch axis or leave --flip-test out"
        )


def fold_normalisation(file: CropFile, model: onnx.ModelProto, served: str, inner: str) -> list[onnx.NodeProto]:
    """Replace the model's first input by uint8 BGR crops, and return the nodes from them to the normalised crops.

    Args:
        file: the file whose metadata states colour order, mean and standard deviation.
        model: the model to change.
        served: name of the new input.
        inner: name of the normalised crops in the model.
    """
    nodes = graph_edit.uint8_input(model, served, "bgr", file.size)
    order = file.choice("channel_order", CHANNEL_ORDERS, "rgb")
    if order == "rgb":
        swap = graph_edit.constant(model, "rgb_of_bgr", [2, 1, 0])
        nodes.append(helper.make_node("Gather", ["bgr", swap], ["rgb"], axis=1))
    mean, std = (
        graph_edit.constant(model, name, np.array(values, np.float32).reshape(1, 3, 1, 1))
        for name, values in (("mean", file.numbers("mean", MEAN, -np.inf)), ("std", file.numbers("std", STD)))
    )
    centered, divided = (
        helper.make_node("Sub", [order, mean], ["centered"]),
        helper.make_node("Div", ["centered", std], [inner]),
    )
    return [*nodes, centered, divided]


def _fold(file: CropFile, model: onnx.ModelProto, outputs: Mapping[str, str]) -> onnx.ModelProto:
    """Return the model whose input is uint8 BGR `crops` and whose outputs are those of the served form."""
    model = compose.add_prefix(model, "network/")
    graph_edit.insert_first(model, fold_normalisation(file, model, CROPS.name, model.graph.input[0].name))
    for name, inside in outputs.items():
        model.graph.node.append(helper.make_node("Identity", [f"network/{inside}"], [name]))
    graph_edit.set_outputs(model, {name: file.answers[inside].shape for name, inside in outputs.items()})
    return model
