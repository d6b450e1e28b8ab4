"""Exports Graph-PCNN to ONNX, both stages in one graph, compared with PyTorch before it is written."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ensemble.networks import Network
from export.checkpoint import Checkpoint
from export.families.crops import INPUT, example_crops, normalised
from export.families.graph_pcnn.checkpoint import load_network
from export.families.graph_pcnn.forms import FlipTested, stage2_weights, with_half_stage1
from export.families.graph_pcnn.network import GraphPcnn
from export.families.graph_pcnn.variants import NO_WEIGHTS, OUTPUTS
from export.families.hrnet import export as baselines
from export.onnx_export import ExportOptions, ExportReport, Original, save_compared, trace

KEYS = (*baselines.KEYS, "gpr.weight", "fc.0.weight", "cls.weight", "reg.weight")
_CROPS, _INEXACT_CROPS = 6, 24  # reduced precision changes decisions, so they are part of its difference


def export(checkpoint: Checkpoint, output: Path, options: ExportOptions) -> ExportReport:
    """Write a checkpoint of both stages, or of a baseline, as ONNX; see `export_onnx`."""
    network = load_network(checkpoint, options.variant)
    report = export_onnx(network, output, options)
    return report if network.trained else replace(report, network=f"{report.network}, stage 2 untrained ({NO_WEIGHTS})")


def export_onnx(network: GraphPcnn, path: Path, options: ExportOptions | None = None) -> ExportReport:
    """Export a network to ONNX, and write the file when its answers are those of the network.

    The file has the input `input` FP32 [batch, 3, H, W], the outputs OUTPUTS in cells of the heat maps, and the
    metadata key `cigpose_meta`. Stage 2 is in float32 whatever the precision (`forms`).

    Args:
        network: any variant, in eval mode.
        path: path of the ONNX file, which is replaced atomically.
        options: options of the command.

    Raises:
        ValueError: the answers differ by more than the bound, or the network is in training mode.
    """
    options, variant = options or ExportOptions(), network.variant
    half = with_half_stage1(network) if options.precision == "fp16" else network
    count = variant.keypoints
    shapes = dict(zip(OUTPUTS, ((count, 2), (count, 2), (count,)), strict=True))
    model = trace(_form(half, options.flip_test), {INPUT: example_crops(variant.baseline, 2)}, shapes)
    form, exact = _form(network, options.flip_test), options.precision == "fp32"
    crops = decided_crops(form, _CROPS) if exact else example_crops(variant.baseline, _INEXACT_CROPS)
    return save_compared(model, path, _description(network), form, {INPUT: crops}, options, stage2_weights(model))


def original(checkpoint: Checkpoint, network: Network) -> Original:
    """Return the network from which a served one was exported."""
    height, width, _ = network.inputs[0].dims
    found = load_network(checkpoint, size=(width, height))
    form = _form(found, network.source.get("flip_test") == "True")
    prepare = partial(normalised, channel_order=found.variant.baseline.channel_order)
    return Original(form, prepare, lambda inputs, count: clearest(form, inputs[INPUT], count).numpy())


def decided_crops(form: GraphPcnn | FlipTested, count: int) -> Tensor:
    """Return `count` fixed crops (count, 3, H, W) on which rounding is least likely to change a decision."""
    crops = example_crops(form.variant.baseline, 2 * count)
    return crops[clearest(form, crops, count)]


def clearest(form: GraphPcnn | FlipTested, crops: Tensor, count: int) -> Tensor:
    """Return the indices, in order, of the `count` crops on which the decisions are clearest."""
    with torch.no_grad():
        margins = torch.cat([_margins(form.maps(part)[0], form.variant.reliable) for part in crops.split(4)])
    return margins.topk(count).indices.sort().values


def _margins(heatmaps: Tensor, reliable: float) -> Tensor:
    """Return (B,): the smallest difference that decides something, relative to the crop's highest value.

    Those are the first maximum and the second, the peak's neighbours along each axis, and a maximum and the gate.
    """
    flat, width = heatmaps.flatten(2), heatmaps.shape[3]
    (first, second), cells = flat.topk(2).values.unbind(2), flat.argmax(2, keepdim=True)
    gaps = [first - second, (first - reliable).abs()]
    for step in (1, width):
        after, before = (flat.gather(2, (cells + way).clamp(0, flat.shape[2] - 1)) for way in (step, -step))
        gaps.append((after - before).abs().squeeze(2))
    return torch.stack(gaps).amin((0, 2)) / flat.abs().amax((1, 2))


def _form(network: GraphPcnn, flip_test: bool) -> GraphPcnn | FlipTested:
    return FlipTested(network) if flip_test else network


def _description(network: GraphPcnn) -> dict[str, Any]:
    columns, rows = network.size
    return baselines.description(network.variant.baseline) | {
        "family": "graph_pcnn",
        "variant": network.variant.name,
        "heatmap_w": columns,
        "heatmap_h": rows,
        "stage2": "trained" if network.trained else "untrained",
    }
