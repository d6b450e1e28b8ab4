"""A network in, a checked ONNX file out: batch axis dynamic, weights and provenance inside."""

import io
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from ensemble.keypoints import keypoint_set
from export import graph_edit, metadata
from export.comparison import PRECISIONS
from export.families.cigpose.check import INPUT, OUTPUTS, Comparison, compare
from export.families.cigpose.forms import HalfBackbone
from export.families.cigpose.network import CigPose, example_crops
from export.families.cigpose.variants import Variant
from export.families.top_down import MEAN, STD
from export.flip import with_flip_test
from export.half_weights import store_half

EXPORTER = "cigpose-triton export 2"  # raise the number when the same checkpoint would give another graph
OPSET = 17


@dataclass(frozen=True)
class ExportReport:
    """What an export measured.

    Attributes:
        comparison: of ONNX Runtime's answers with those of the float32 network in PyTorch.
        bound: what `comparison.difference.rms` was held against.
        seconds: time the export took, comparison included.
        size_bytes: of the written file.
    """

    comparison: Comparison
    bound: float
    seconds: float
    size_bytes: int


def export_onnx(
    network: CigPose,
    path: Path,
    *,
    precision: str = "fp32",
    flip_test: bool = False,
    max_difference: float | None = None,
    checkpoint_sha256: str = "",
    batches: Sequence[int] = (1, 2, 3),
) -> ExportReport:
    """Write a network as ONNX and compare it with the network; no file is left when they disagree.

    The file has the input `input` FP32 [batch, 3, H, W] (RGB, normalised by MEAN and STD), the outputs `simcc_x` and
    `simcc_y`, and the metadata key `cigpose_meta`: the form of the publicly known CIGPose ONNX files.

    Args:
        network: in eval mode; any variant.
        path: of the ONNX file; replaced in one step at the end.
        precision: a key of PRECISIONS.
        flip_test: average with the mirrored crop inside the graph; doubles the work.
        max_difference: overrides the bound of the precision.
        checkpoint_sha256: of the file the weights came from, for the metadata.
        batches: batch sizes to compare at.

    Raises:
        ValueError: the answers differ by more than the bound, the precision does not exist, or the network is in
            training mode.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; known: {', '.join(PRECISIONS)}")
    if network.training:
        raise ValueError(f"{network.variant.name} is in training mode; call eval() first")
    started = time.perf_counter()
    bound = PRECISIONS[precision] if max_difference is None else max_difference
    form = HalfBackbone(network) if precision == "fp16" else network
    model, variant = trace(form, network.variant), network.variant
    if flip_test:
        partners = keypoint_set(variant.keypoint_set).flip_indices
        shapes = {name: (variant.num_keypoints, bins) for name, bins in zip(OUTPUTS, variant.bins, strict=True)}
        model = with_flip_test(model, shapes, OUTPUTS[:1], partners)
    model = store_half(model) if precision == "fp16-weights" else model
    metadata.write(model, provenance(variant, precision, flip_test, checkpoint_sha256))
    found = compare(network, model, flip_test=flip_test, exact=precision == "fp32", batches=batches)
    if not found.difference.rms <= bound:  # also when it is NaN
        raise ValueError(f"{path} not written: ONNX Runtime and PyTorch differ, {found}; allowed rms: {bound:g}")
    graph_edit.save(model, path)
    return ExportReport(found, bound, time.perf_counter() - started, path.stat().st_size)


def trace(module: nn.Module, variant: Variant) -> onnx.ModelProto:
    """Return the ONNX graph of a module from crops to SimCC rows, with a dynamic batch axis.

    Raises:
        ValueError: the module would bake values of the example into the graph (the message says where).
    """
    file = io.BytesIO()
    with (
        torch.no_grad(),
        warnings.catch_warnings(record=True) as caught,
    ):  # PyTorch would rather we used its other exporter
        warnings.simplefilter("always")
        torch.onnx.export(
            module,
            (example_crops(variant, 2),),
            file,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_axes={name: {0: graph_edit.BATCH_AXIS} for name in (INPUT, *OUTPUTS)},
            opset_version=OPSET,
            dynamo=False,
        )
    baked = [str(warning.message) for warning in caught if warning.category is torch.jit.TracerWarning]
    if baked:
        raise ValueError(f"the graph would hold for one input only: {'; '.join(baked)}")
    model = onnx.load_from_string(file.getvalue())
    for value, bins in zip(model.graph.output, variant.bins, strict=True):  # the exporter may not have inferred them
        for dim, size in zip(value.type.tensor_type.shape.dim[1:], (variant.num_keypoints, bins), strict=True):
            dim.dim_value = size
    return model


def provenance(variant: Variant, precision: str, flip_test: bool, checkpoint_sha256: str) -> dict[str, Any]:
    """Return what the file says about itself: how to feed and read it, and where it comes from."""
    width, height = variant.input_size
    return {
        "input_w": width,
        "input_h": height,
        "split_ratio": variant.split_ratio,
        "mean": MEAN,
        "std": STD,
        "keypoint_set": variant.keypoint_set,
        "num_keypoints": variant.num_keypoints,
        "variant": variant.name,
        "precision": precision,
        "flip_test": flip_test,
        "checkpoint_sha256": checkpoint_sha256,
        "exporter": EXPORTER,
    }
