"""Reads LOGO-CAP checkpoints, and exports them to ONNX, compared with PyTorch at two sizes before a file is written.

`KEYS`, `export` and `original` are the `Exporter` of the family.
"""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from ensemble.networks import Network
from ensemble.tensors import FITTED
from export import graph_edit, metadata
from export.checkpoint import Checkpoint, load_variant
from export.comparison import PRECISIONS, Answers, difference, joined
from export.families.crops import INPUT, normalised
from export.families.logocap import OUTPUTS, with_center_bias
from export.families.logocap.forms import FlipTested, HalfDense, Stages, filter_weights
from export.families.logocap.network import LogoCap
from export.families.logocap.refinement import CONFIDENT
from export.families.logocap.variants import VARIANTS, Variant
from export.families.top_down import MEAN, STD
from export.half_weights import store_half
from export.onnx_export import EXPORTER, ExportOptions, ExportReport, Original, Tensors, trace_graph

KEYS = ("backbone.conv1.weight", "final_layer_reg.bias", "joints_mlp.4.weight_")
_SIZES = ((256, 320), (448, 256))  # (height, width) of the pictures on which an export is compared
_CLEAR = 1e-4  # relative gap between values that decide something, above which rounding cannot change the decision
_NOTHING = 1e-12
_MEDIAN = 0.1  # centre score in the middle of the candidates of a compared picture


def export(checkpoint: Checkpoint, output: Path, options: ExportOptions) -> ExportReport:
    """Write an official checkpoint as ONNX; see `export_onnx`."""
    return export_onnx(load_variant(checkpoint, VARIANTS.values(), LogoCap, options.variant)[1], output, options)


def export_onnx(network: LogoCap, path: Path, options: ExportOptions | None = None) -> ExportReport:
    """Export a network to ONNX, and write the file when its answers are those of the network.

    The file has the input `input` FP32 [1, 3, H, W] (RGB, normalised by MEAN and STD, sides free multiples of 64), the
    outputs of `forms.People`, and the metadata key `cigpose_meta`. The flip test is always part of it. Reduced
    precisions are of the dense part only, see `forms.HalfDense`.

    Args:
        network: any variant, in eval mode.
        path: path of the ONNX file, which is replaced atomically.
        options: options of the command.

    Raises:
        ValueError: the answers differ by more than the bound, or the network is in training mode.
    """
    options, variant = options or ExportOptions(), network.variant
    whole = FlipTested(network)
    form = FlipTested(network, HalfDense(network)) if options.precision == "fp16" else whole
    model = _traced(form)
    if options.precision == "fp16-weights":
        model = store_half(model, filter_weights(model))
    metadata.write(model, _description(variant, options))
    report = _compared(whole, model, options)
    if not report.difference.rms <= report.bound:  # also when it is NaN
        raise ValueError(f"{path} not written: ONNX Runtime and PyTorch differ, {report}")
    graph_edit.save(model, path)
    return report


def original(checkpoint: Checkpoint, network: Network) -> Original:
    """Return the network from which a served one was exported."""
    stated = network.source.get("variant")
    asked = stated if stated in VARIANTS else None
    found = FlipTested(load_variant(checkpoint, VARIANTS.values(), LogoCap, asked)[1])

    def clearest(inputs: Tensors, count: int) -> NDArray[np.intp]:
        pictures = inputs[INPUT].split(1)
        margins = np.concatenate([_margins(stages_of(found, picture)).min(axis=1) for picture in pictures])
        return np.sort(np.argsort(-margins)[:count])

    return Original(found, _normalised, clearest)


def example_picture(height: int, width: int, seed: int = 0) -> Tensor:
    """Return a picture (1, 3, height, width) of blocks under noise, normalised; the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randn((1, 3, height // 16, width // 16), generator=generator)
    fine = torch.randn((1, 3, height, width), generator=generator)
    return torch.nn.functional.interpolate(blocks, scale_factor=16, mode="nearest") + 0.3 * fine


def _traced(form: FlipTested) -> onnx.ModelProto:
    picture = example_picture(128, 192)
    model = trace_graph(form, {INPUT: picture}, OUTPUTS, {INPUT: {2: "height", 3: "width"}})
    with torch.no_grad():
        answers = form(picture)
    del model.graph.output[:]  # the exporter may not have inferred the shapes
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, answer.shape)
        for name, answer in zip(OUTPUTS, answers, strict=True)
    )
    return model


def _description(variant: Variant, options: ExportOptions) -> dict[str, Any]:
    return {
        "short_side": variant.short_side,
        "mean": MEAN,
        "std": STD,
        "keypoint_set": variant.keypoint_set,
        "num_keypoints": variant.keypoints,
        "family": "logocap",
        "variant": variant.name,
        "precision": options.precision,
        "flip_test": True,
        "checkpoint_sha256": options.checkpoint_sha256,
        "exporter": EXPORTER,
    }


def _compared(whole: FlipTested, model: onnx.ModelProto, options: ExportOptions) -> ExportReport:
    """Compare an export with its network, both with a bias at the centres that lets them find people in noise."""
    whole, pairs = copy.deepcopy(whole), []
    for seed, size in enumerate(_SIZES):
        picture = example_picture(*size, seed)
        raised = _raise_centers(whole, picture)
        session = graph_edit.cpu_session(with_center_bias(model, raised))
        stages = stages_of(whole, picture)
        expected = {name: value.numpy() for name, value in zip(OUTPUTS, stages.people, strict=True)}
        found = dict(zip(OUTPUTS, session.run(OUTPUTS, {INPUT: picture.numpy()}), strict=True))
        pairs.append((expected, aligned(expected, found, _margins(stages) > _CLEAR)))
    before, after = (joined(each) for each in zip(*pairs, strict=True))
    bound = PRECISIONS[options.precision] if options.max_difference is None else options.max_difference
    return ExportReport(whole.network.variant.name, difference(before, after), len(_SIZES), bound)


def _raise_centers(whole: FlipTested, picture: Tensor) -> float:
    """Raise or lower the bias of the centre map until about half of the candidates are people, and return the bias."""
    bias = whole.network.final_layer_cls.bias
    with torch.no_grad():
        bias[-1] -= stages_of(whole, picture).heatmaps[-1].min()  # now all peaks are above 0
        bias[-1] += _MEDIAN - stages_of(whole, picture).people.center_scores.median()
        return float(bias[-1])


def stages_of(whole: FlipTested, picture: Tensor) -> Stages:
    """Return all stages of a network for a normalised picture (1, 3, H, W)."""
    with torch.no_grad():
        return whole.refine(whole.merged(picture))


def aligned(expected: Answers, found: Answers, clear: NDArray[np.bool_]) -> Answers:
    """Return answers in the order of the expected ones, which candidates of equal centre scores may not have.

    Args:
        expected: outputs for one picture.
        found: outputs of another implementation.
        clear: (30, K) keypoints that no rounding moves; the others count as equal.
    """
    answers = {name: array.copy() for name, array in expected.items()}
    answers["center_scores"] = found["center_scores"]
    for row in np.flatnonzero(clear.any(axis=1)):
        distances = np.linalg.norm(found["keypoints"] - expected["keypoints"][row], axis=2)[:, clear[row]]
        same = distances.mean(axis=1).argmin()
        answers["keypoints"][row, clear[row]] = found["keypoints"][same, clear[row]]
        for name in ("keypoint_scores", "person_scores"):
            answers[name][row] = found[name][same]
    return answers


def _margins(stages: Stages) -> NDArray[np.float64]:
    """Return (30, K): the smallest relative gap between values that decide a keypoint's position.

    They are the three highest values of its window, and its candidate's centre score, the next ones and `CONFIDENT`.
    """
    first, second, third = stages.adapted.double().flatten(2).topk(3).values.unbind(2)
    gaps = torch.minimum(first - second, second - third) / first.clamp(min=_NOTHING)
    gaps[first == 0] = 1
    scores = stages.people.center_scores.double().numpy()
    limits = np.concatenate([[np.inf], scores, [0.0]])
    apart = np.minimum(-np.diff(limits)[:-1], -np.diff(limits)[1:])
    apart = np.minimum(apart, np.abs(scores - CONFIDENT)) / max(scores[0], _NOTHING)
    return np.minimum(gaps.numpy(), np.where(scores >= CONFIDENT, apart, 0)[:, None])


def _normalised(served: Answers) -> dict[str, Tensor]:
    """Return the network's input for a uint8 BGR picture."""
    return normalised({"crops": served[FITTED.name][None]})
