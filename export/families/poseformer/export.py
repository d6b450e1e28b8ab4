"""Exports Context-Aware PoseFormer to ONNX, backbone and lifter in one graph, compared before it is written."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ensemble.keypoints import keypoint_set
from ensemble.networks import Network
from ensemble.tensors import LIFT_CROPS
from export.checkpoint import Checkpoint, load_variant
from export.comparison import Answers
from export.families.crops import example_crops, planes
from export.families.poseformer.forms import FlipTested, HalfBackbone
from export.families.poseformer.network import PoseFormer, build
from export.families.poseformer.variants import INPUTS, KEYPOINTS, OUTPUT, SMALL, VARIANTS, Variant
from export.onnx_export import ExportOptions, ExportReport, Original, save_compared, trace

KEYS = ("volume_net.Spatial_pos_embed", "volume_net.coord_embed.weight", "volume_net.head.1.weight")
_KNOWN = {**VARIANTS, SMALL.name: SMALL}
_JOINTS = len(keypoint_set(KEYPOINTS))
_SAMPLES = 8  # compared in batches of 1, 2 and 5


def export(checkpoint: Checkpoint, output: Path, options: ExportOptions) -> ExportReport:
    """Write a checkpoint, official or of SMALL, as ONNX; see `export_onnx`."""
    _, network = load_variant(checkpoint, _KNOWN.values(), build, options.variant)
    return export_onnx(network, output, options)


def export_onnx(network: PoseFormer, path: Path, options: ExportOptions | None = None) -> ExportReport:
    """Export a network to ONNX, and write the file when its answers are those of the network.

    The file has the inputs INPUTS (`crop` RGB, normalised; keypoints as `Lifter.forward` takes them), the output
    `keypoints_3d` [batch, 17, 3], and the metadata key `cigpose_meta`. The lifter is in float32 whatever the precision.

    Args:
        network: any variant, in eval mode.
        path: path of the ONNX file, which is replaced atomically.
        options: options of the command.

    Raises:
        ValueError: the answers differ by more than the bound, or the network is in training mode.
    """
    options, variant = options or ExportOptions(), network.variant
    half = HalfBackbone(network) if options.precision == "fp16" else network
    form = _form(half, variant, options.flip_test)
    model = trace(form, example_inputs(variant, 2), {OUTPUT: (_JOINTS, 3)})
    whole = _form(network, variant, options.flip_test)
    kept = {name for node in model.graph.node if "/volume_net/" in node.name for name in node.input}
    return save_compared(model, path, _description(variant), whole, example_inputs(variant, _SAMPLES), options, kept)


def original(checkpoint: Checkpoint, network: Network) -> Original:
    """Return the network from which a served one was exported."""
    stated = network.source.get("variant")
    asked = stated if stated in _KNOWN else None
    variant, found = load_variant(checkpoint, _KNOWN.values(), build, asked)
    form = _form(found, variant, network.source.get("flip_test") == "True")
    return Original(form, partial(_inputs, variant=variant), lambda _, count: np.arange(count))  # it decides nothing


def example_inputs(variant: Variant, count: int) -> dict[str, Tensor]:
    """Return random crops and joints of `count` people; some joints lie outside the crop."""
    generator = torch.Generator().manual_seed(0)
    image, in_crop = (2.2 * torch.rand((count, _JOINTS, 2), generator=generator) - 1.1 for _ in range(2))
    return dict(zip(INPUTS, (example_crops(variant, count), image, in_crop), strict=True))


def _inputs(served: Answers, variant: Variant) -> dict[str, Tensor]:
    """Return the network's inputs for served ones."""
    crop, *keypoints = INPUTS
    crops = planes(served[LIFT_CROPS.name], mean=variant.mean, std=variant.std)
    return {crop: crops, **{name: torch.from_numpy(served[name]) for name in keypoints}}


def _form(network: nn.Module, variant: Variant, flip_test: bool) -> nn.Module:
    return FlipTested(network, variant.input_size[0]) if flip_test else network


def _description(variant: Variant) -> dict[str, Any]:
    width, height = variant.input_size
    return {
        "input_w": width,
        "input_h": height,
        "mean": variant.mean,
        "std": variant.std,
        "keypoint_set": KEYPOINTS,
        "num_keypoints": _JOINTS,
        "family": "poseformer",
        "variant": variant.name,
    }
