"""Exports HRNet and SimpleBaseline to ONNX, compared with PyTorch before it is written."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ensemble.keypoints import keypoint_set
from ensemble.networks import Network
from export.checkpoint import Checkpoint
from export.families.crops import INPUT, example_crops, normalised
from export.families.hrnet.checkpoint import load_network
from export.families.hrnet.forms import FlipTested, Half
from export.families.hrnet.variants import Variant
from export.families.top_down import MEAN, STD
from export.flip import mirrored_columns, with_flip_test
from export.onnx_export import ExportOptions, ExportReport, Original, save_compared, trace

KEYS = ("conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "final_layer.weight")
_OUTPUT = "heatmaps"
_CROPS = 6


def export(checkpoint: Checkpoint, output: Path, options: ExportOptions) -> ExportReport:
    """Export a checkpoint to ONNX, and write the file when its answers are those of the network.

    The file has the input `input` FP32 [batch, 3, H, W] (normalised by MEAN and STD, in the variant's channel order),
    the output `heatmaps`, and the metadata key `cigpose_meta`.
    """
    variant, network = load_network(checkpoint, options.variant)
    columns, rows = variant.heatmap_size
    points = keypoint_set(variant.keypoint_set)
    shapes = {_OUTPUT: (len(points), rows, columns)}
    form = Half(network) if options.precision == "fp16" else network
    model = trace(form, {INPUT: example_crops(variant, 2)}, shapes)
    if options.flip_test:
        model = with_flip_test(model, shapes, {_OUTPUT: mirrored_columns(columns, shift=True)}, points.flip_indices)
    whole = _with_flip_test(network, variant, options.flip_test)
    described = description(variant) | {"family": "hrnet", "variant": variant.name, "decoding": "quarter"}
    return save_compared(model, output, described, whole, {INPUT: example_crops(variant, _CROPS)}, options)


def original(checkpoint: Checkpoint, network: Network) -> Original:
    """Return the network from which a served one was exported."""
    height, width, _ = network.inputs[0].dims
    variant, found = load_network(checkpoint, size=(width, height))
    whole = _with_flip_test(found, variant, network.source.get("flip_test") == "True")
    prepare = partial(normalised, channel_order=variant.channel_order)
    return Original(whole, prepare, lambda _, count: np.arange(count))  # heat maps hold no decision


def description(variant: Variant) -> dict[str, Any]:
    """Return the metadata on the input and the keypoints."""
    width, height = variant.input_size
    return {
        "input_w": width,
        "input_h": height,
        "mean": MEAN,
        "std": STD,
        "channel_order": variant.channel_order,
        "keypoint_set": variant.keypoint_set,
        "num_keypoints": len(keypoint_set(variant.keypoint_set)),
    }


def _with_flip_test(network: nn.Module, variant: Variant, flip_test: bool) -> nn.Module:
    return FlipTested(network, variant) if flip_test else network
