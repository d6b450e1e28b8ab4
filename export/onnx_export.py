"""A network in, a checked ONNX file out: batch axis dynamic, weights and provenance inside."""

import io
import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from export import graph_edit
from export.cigpose.forms import FlipTested, HalfBackbone
from export.cigpose.network import CigPose, example_crops
from export.cigpose.variants import MEAN, STD, Variant
from export.comparison import Difference, Rows, concatenated, difference
from export.half_weights import store_half

EXPORTER = "cigpose-triton export 1"  # raise the number when the same checkpoint would give another graph
OPSET = 17
INPUT, OUTPUTS = "input", ("simcc_x", "simcc_y")
METADATA_KEY = "cigpose_meta"
PRECISIONS = {  # name -> bound on the rms difference, in standard deviations of the logits
    "fp32": 2e-4,  # rounding of float32; 4e-5 is the most seen on the published variants
    "fp16": 5e-2,  # the convolutions compute in float16, the head in float32
    "fp16-weights": 5e-2,  # the weights are stored in float16, everything computes in float32
}


@dataclass(frozen=True)
class ExportReport:
    """What an export measured.

    Attributes:
        difference: of ONNX Runtime's answers from those of the float32 network in PyTorch.
        bound: what `difference.rms_relative` was held against.
        compared: number of crops.
        changed_decisions: on how many of them float16 arithmetic replaces another keypoint.
        seconds: time the export took, comparison included.
        size_bytes: of the written file.
    """

    difference: Difference
    bound: float
    compared: int
    changed_decisions: int
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
        ValueError: the answers differ by more than the bound, or the precision does not exist.
    """
    started = time.perf_counter()
    bound = _bound(precision) if max_difference is None else max_difference
    variant = network.variant
    form = HalfBackbone(network) if precision == "fp16" else network
    with torch.no_grad():
        crops = comparison_crops(network, sum(batches))
        model = trace(_with_flip_test(form, variant, flip_test), variant)
        expected = _predict(_with_flip_test(network, variant, flip_test), crops)
        changed = _changed_decisions(network, form, crops)
    model = store_half(model) if precision == "fp16-weights" else model
    describe(model, metadata(variant, precision, flip_test, checkpoint_sha256))
    found = difference(expected, _run(model, crops, batches))
    if not found.rms_relative <= bound:  # also when it is NaN
        raise ValueError(f"{path} not written: ONNX Runtime and PyTorch differ, {found}; allowed rms: {bound:g}")
    graph_edit.save(model, path)
    return ExportReport(found, bound, len(crops), changed, time.perf_counter() - started, path.stat().st_size)


def trace(module: nn.Module, variant: Variant) -> onnx.ModelProto:
    """Return the ONNX graph of a module from crops to SimCC rows, with a dynamic batch axis.

    Raises:
        ValueError: the module would bake values of the example into the graph (the message says where).
    """
    file = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:  # PyTorch would rather we used its other exporter
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


def metadata(variant: Variant, precision: str, flip_test: bool, checkpoint_sha256: str) -> dict[str, Any]:
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


def describe(model: onnx.ModelProto, content: dict[str, Any]) -> None:
    """Write the metadata into the model."""
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(content)})


def comparison_crops(network: CigPose, count: int) -> Tensor:
    """Return the fixed crops (count, 3, H, W) of a comparison.

    Of twice as many, those on which the network's decision (which keypoint it replaces) is clearest, in the crop and in
    its mirror image: where two keypoints tie, rounding decides, and two right implementations may answer differently.
    """
    crops = example_crops(network.variant, 2 * count)
    gaps = [torch.minimum(*(_decision_gaps(network, part) for part in (c, c.flip(3)))) for c in crops.split(4)]
    return crops[torch.cat(gaps).topk(count).indices.sort().values]


def _decision_gaps(network: CigPose, crops: Tensor) -> Tensor:
    """Return (B,): by how much, relatively, the lowest confidence lies below the second lowest."""
    lowest = network.stages(crops).confidence.topk(2, largest=False).values
    return (lowest[:, 1] - lowest[:, 0]) / lowest[:, 1]


def _changed_decisions(network: CigPose, form: CigPose | HalfBackbone, crops: Tensor) -> int:
    if form is network:
        return 0
    pairs = [(network.stages(crop[None]).intervened, form.stages(crop[None]).intervened) for crop in crops]
    return sum(not torch.equal(a, b) for a, b in pairs)


def _with_flip_test(form: nn.Module, variant: Variant, flip_test: bool) -> nn.Module:
    return FlipTested(form, variant.keypoint_set).eval() if flip_test else form


def _bound(precision: str) -> float:
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; known: {', '.join(PRECISIONS)}")
    return PRECISIONS[precision]


def _predict(module: nn.Module, crops: Tensor) -> Rows:
    """Run PyTorch crop by crop."""
    return concatenated([tuple(rows.numpy() for rows in module(crop[None])) for crop in crops])


def _run(model: onnx.ModelProto, crops: Tensor, batches: Sequence[int]) -> Rows:
    """Run ONNX Runtime in batches of the given sizes."""
    session = graph_edit.cpu_session(model)
    return concatenated([tuple(session.run(OUTPUTS, {INPUT: part.numpy()})) for part in crops.split(list(batches))])
