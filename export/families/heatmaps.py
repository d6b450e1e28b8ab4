"""Heat-map ONNX files of MMPose's form (HRNet, SimpleBaseline, ViTPose ...) -> their served form."""

from pathlib import Path

import numpy as np
import onnx

from ensemble.networks import Heatmaps
from ensemble.steps.decode_heatmaps import BLUR, DECODINGS, SEARCHES
from ensemble.tensors import HEATMAPS
from export import graph_edit
from export.families import Family, PoseOptions, Served
from export.families.top_down import CropFile, read_crop_file, serve_crop_file
from export.flip import mirrored_columns


def is_heatmaps(model: onnx.ModelProto) -> bool:
    """Return whether the model has one output that can be heat maps. Exporters may leave shapes out."""
    shapes = graph_edit.shapes(model.graph.output)
    return len(shapes) == 1 and len(shapes[0]) in (0, 4)


def serve(path: Path, model: onnx.ModelProto, options: PoseOptions) -> Served:
    """Serve a file whose input is crops and whose output is one heat map for each keypoint.

    Raises:
        ValueError: the file is no such network (the message lists its outputs), contradicts its metadata, or leaves
            the crop size open (the message names the option that sets it).
    """
    file = read_crop_file(path, model, options)
    if [value.ndim for value in file.answers.values()] != [3]:
        listing = ", ".join(f"{name} {[1, *value.shape]}" for name, value in file.answers.items())
        raise ValueError(f"{path}: the outputs are {listing}; a heat-map network has one, [batch, K, h, w]")
    ((name, maps),) = file.answers.items()
    count, height, width = maps.shape
    decoding, search = file.choice("decoding", DECODINGS, DECODINGS[0]), file.choice("search", SEARCHES, SEARCHES[0])
    (offset,) = file.numbers("offset", (Heatmaps.offset,), above=-np.inf)
    head = Heatmaps((width, height), decoding, _blur(file), search, offset)
    columns = {name: mirrored_columns(width, shift=file.crop.warp != "udp" and not offset)}
    return serve_crop_file(file, head, count, options, outputs={HEATMAPS.name: name}, columns=columns)


FAMILY = Family("heatmaps", serve, "crops [batch, 3, H, W] -> heat maps [batch, K, h, w]", is_heatmaps)


def _blur(file: CropFile) -> int:
    (blur,) = file.numbers("blur_kernel_size", (BLUR,))
    if blur % 2 != 1:
        raise ValueError(f"{file.path}: the metadata says blur_kernel_size {blur:g}; it must be odd")
    return int(blur)
