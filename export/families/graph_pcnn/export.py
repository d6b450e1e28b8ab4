"""Graph-PCNN to ONNX, compared with PyTorch before it is written: both stages in one graph, batch axis dynamic."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from export import graph_edit, metadata
from export.comparison import PRECISIONS
from export.families.graph_pcnn.forms import FlipTested, stage2_weights, with_half_stage1
from export.families.graph_pcnn.network import OUTPUTS, GraphPcnn, Keypoints
from export.families.graph_pcnn.variants import Variant
from export.families.hrnet.network import example_crops
from export.families.top_down import MEAN, STD
from export.half_weights import store_half
from export.onnx_export import trace

INPUT = "input"
REFINED = 1e-3  # cells: bound on what rounding may move in float32
_CANDIDATES = 8  # crops looked at for each one compared, to meet one that decides nothing by a hair's breadth


@dataclass(frozen=True)
class Comparison:
    """ONNX Runtime's answers beside those of float32 PyTorch.

    Attributes:
        points: number of keypoints compared.
        moved: of their guided points, how many are others.
        refined: largest distance of refined keypoints along an axis, in cells, where the guided points agree.
    """

    points: int
    moved: int
    refined: float

    def __str__(self) -> str:
        """Return one line for people."""
        return f"{self.moved} of {self.points} guided points moved, refined ones by at most {self.refined:.2g} cells"


def export_onnx(
    network: GraphPcnn,
    path: Path,
    *,
    precision: str = "fp32",
    flip_test: bool = False,
    provenance: dict[str, Any] | None = None,
    batches: Sequence[int] = (1, 2, 3),
) -> Comparison:
    """Write a network as ONNX and compare it with the network; no file is left when they disagree in float32.

    Args:
        network: in eval mode.
        path: of the ONNX file; replaced in one step at the end.
        precision: a key of PRECISIONS; of stage 1, since stage 2 stays in float32.
        flip_test: average with the mirrored crop inside the graph; nearly doubles the work.
        provenance: what the metadata say beside what the network is.
        batches: batch sizes to compare at.

    Raises:
        ValueError: the answers differ, the precision does not exist, or the network is in training mode.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; known: {', '.join(PRECISIONS)}")
    if network.training:
        raise ValueError(f"{network.variant.name} is in training mode; call eval() first")
    half = with_half_stage1(network) if precision == "fp16" else network
    model = _traced(FlipTested(half) if flip_test else half, network.variant)
    model = store_half(model, stage2_weights(model)) if precision == "fp16-weights" else model
    described = description(network.variant) | {"precision": precision, "flip_test": flip_test}
    metadata.write(model, described | (provenance or {}))
    found = compare(network, model, flip_test=flip_test, batches=batches)
    if precision == "fp32" and not (found.moved == 0 and found.refined <= REFINED):  # also when it is NaN
        raise ValueError(f"{path} not written: ONNX Runtime and PyTorch differ, {found}; allowed: 0, {REFINED:g} cells")
    graph_edit.save(model, path)
    return found


def description(variant: Variant) -> dict[str, Any]:
    """Return what a file must say for its outputs to be understood."""
    (width, height), (columns, rows) = variant.baseline.input_size, variant.baseline.heatmap_size
    return {
        "family": "graph_pcnn",
        "variant": variant.name,
        "input_w": width,
        "input_h": height,
        "heatmap_w": columns,
        "heatmap_h": rows,
        "mean": MEAN,
        "std": STD,
        "channel_order": variant.baseline.channel_order,
        "keypoint_set": variant.baseline.keypoint_set,
        "num_keypoints": variant.keypoints,
    }


def compare(network: GraphPcnn, model: onnx.ModelProto, *, flip_test: bool, batches: Sequence[int]) -> Comparison:
    """Run a network crop by crop in PyTorch and an export of it in batches in ONNX Runtime."""
    form = FlipTested(network) if flip_test else network
    crops = decided_crops(form, network, sum(batches))
    expected = [np.concatenate(values) for values in zip(*(_run(form, crop[None]) for crop in crops), strict=True)]
    session = graph_edit.cpu_session(model)
    parts = [session.run(OUTPUTS, {INPUT: part.numpy()}) for part in crops.split([*batches])]
    refined, coarse, _ = (np.concatenate(values) for values in zip(*parts, strict=True))
    same = (coarse == expected[1]).all(axis=2)
    distances = np.abs(refined - expected[0])[same]
    return Comparison(same.size, int((~same).sum()), float(distances.max()) if distances.size else 0.0)


def decided_crops(form: GraphPcnn | FlipTested, network: GraphPcnn, count: int) -> Tensor:
    """Return the `count` of some fixed crops (count, 3, H, W) whose decisions rounding is least likely to change."""
    crops = example_crops(network.variant.baseline, _CANDIDATES * count)
    with torch.no_grad():
        margins = torch.cat([_margins(form.maps(part)[0], network.variant.reliable) for part in crops.split(4)])
    return crops[margins.topk(count).indices.sort().values]


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


def _traced(form: GraphPcnn | FlipTested, variant: Variant) -> onnx.ModelProto:
    shapes = dict(zip(OUTPUTS, ((variant.keypoints, 2), (variant.keypoints, 2), (variant.keypoints,)), strict=True))
    return trace(form, {INPUT: example_crops(variant.baseline, 2)}, shapes)


def _run(form: GraphPcnn | FlipTested, crops: Tensor) -> list[NDArray[np.float32]]:
    with torch.no_grad():
        answer: Keypoints = form(crops)
    return [value.numpy() for value in answer]
