"""Exports CIGPose to ONNX with a dynamic batch axis. The result is compared with PyTorch before it is written."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ensemble.keypoints import keypoint_set
from ensemble.networks import Network
from export.checkpoint import Checkpoint, load_variant
from export.families.cigpose.forms import FlipTested, HalfBackbone
from export.families.cigpose.network import CigPose
from export.families.cigpose.variants import VARIANTS, Variant
from export.families.crops import INPUT, example_crops, normalised
from export.families.simcc import OUTPUTS
from export.families.top_down import MEAN, STD
from export.flip import mirrored_columns, with_flip_test
from export.onnx_export import ExportOptions, ExportReport, Original, save_compared, trace

KEYS = ("backbone.stem.0.conv.weight", "head.final_layer.weight", "head.cls_gx.weight", "head.cls_gy.weight")
_CROPS, _INEXACT_CROPS = 6, 24  # 24 crops include a decision that reduced precision changes


def export(checkpoint: Checkpoint, output: Path, options: ExportOptions) -> ExportReport:
    """Write an official checkpoint as ONNX; see `export_onnx`."""
    _, network = load_variant(checkpoint, VARIANTS.values(), CigPose, options.variant)
    return export_onnx(network, output, options)


def export_onnx(network: CigPose, path: Path, options: ExportOptions | None = None) -> ExportReport:
    """Export a network to ONNX, and write the file when its answers are those of the network.

    The file has the input `input` FP32 [batch, 3, H, W] (RGB, normalised by MEAN and STD), the outputs `simcc_x` and
    `simcc_y`, and the metadata key `cigpose_meta`: the form of the publicly known CIGPose ONNX files.

    In float32, the comparison uses crops on which rounding cannot change a decision of the network.

    Args:
        network: any variant, in eval mode.
        path: path of the ONNX file, which is replaced atomically.
        options: options of the command.

    Raises:
        ValueError: the answers differ by more than the bound, or the network is in training mode.
    """
    options, variant = options or ExportOptions(), network.variant
    form = HalfBackbone(network) if options.precision == "fp16" else network
    shapes = {name: (variant.num_keypoints, bins) for name, bins in zip(OUTPUTS, variant.bins, strict=True)}
    model = trace(form, {INPUT: example_crops(variant, 2)}, shapes)
    if options.flip_test:
        columns = {OUTPUTS[0]: mirrored_columns(variant.bins[0])}
        model = with_flip_test(model, shapes, columns, keypoint_set(variant.keypoint_set).flip_indices)
    exact = options.precision == "fp32"
    crops = decided_crops(network, _CROPS) if exact else example_crops(variant, _INEXACT_CROPS)
    whole = _with_flip_test(network, options.flip_test)
    return save_compared(model, path, _description(variant), whole, {INPUT: crops}, options)


def original(checkpoint: Checkpoint, network: Network) -> Original:
    """Return the network from which a served one was exported. The served one's config may name the variant.

    Raises:
        ValueError: it is no CIGPose checkpoint, or its input size is another one (the message states both).
    """
    stated = network.source.get("variant")
    variant, found = load_variant(checkpoint, VARIANTS.values(), CigPose, stated if stated in VARIANTS else None)
    height, width, _ = network.inputs[0].dims
    size = variant.input_size
    if size != (width, height):
        raise ValueError(
            f"{checkpoint.path} is {variant.name}, for crops of {size}; {network.name} takes {(width, height)}"
        )
    whole = _with_flip_test(found, network.source.get("flip_test") == "True")
    return Original(whole, normalised, lambda inputs, count: clearest(found, inputs[INPUT], count).numpy())


def decided_crops(network: CigPose, count: int) -> Tensor:
    """Return `count` fixed crops (count, 3, H, W) on which the network's decision is clear."""
    crops = example_crops(network.variant, 2 * count)
    return crops[clearest(network, crops, count)]


def clearest(network: CigPose, crops: Tensor, count: int) -> Tensor:
    """Return the indices, in order, of the `count` crops on which the network's decision is clearest.

    They have the widest gap between the two least certain keypoints, in the crop and in its mirror image. When two
    keypoints tie, rounding decides, and two correct implementations may answer differently.
    """
    gaps = [torch.minimum(_gaps(network, part), _gaps(network, part.flip(3))) for part in crops.split(4)]
    return torch.cat(gaps).topk(count).indices.sort().values


def _gaps(network: CigPose, crops: Tensor) -> Tensor:
    """Return (B,), the relative gap between the lowest confidence and the second lowest."""
    lowest = network.stages(crops).confidence.topk(2, largest=False).values
    return (lowest[:, 1] - lowest[:, 0]) / lowest[:, 1]


def _with_flip_test(network: CigPose, flip_test: bool) -> nn.Module:
    return FlipTested(network, network.variant.keypoint_set) if flip_test else network


def _description(variant: Variant) -> dict[str, Any]:
    width, height = variant.input_size
    return {
        "input_w": width,
        "input_h": height,
        "split_ratio": variant.split_ratio,
        "mean": MEAN,
        "std": STD,
        "keypoint_set": variant.keypoint_set,
        "num_keypoints": variant.num_keypoints,
        "family": "cigpose",
        "variant": variant.name,
    }
