"""An ONNX file against the network it was made from, on the same crops."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from export import graph_edit
from export.comparison import Difference, Rows, concatenated, difference
from export.families.cigpose.forms import FlipTested
from export.families.cigpose.network import CigPose, example_crops

INPUT, OUTPUTS = "input", ("simcc_x", "simcc_y")
_INEXACT_CROPS = 24  # enough to meet a decision that reduced precision changes


@dataclass(frozen=True)
class Comparison:
    """ONNX Runtime's answers beside PyTorch's.

    Attributes:
        difference: over all crops together.
        crops: number of crops compared.
        decisions: number of interventions in them; twice as many with the flip test.
        changed_decisions: of those, how many replace another keypoint.
    """

    difference: Difference
    crops: int
    decisions: int
    changed_decisions: int

    def __str__(self) -> str:
        """Return one line for people."""
        changed = f"{self.changed_decisions} of {self.decisions} interventions on another keypoint"
        return f"{self.difference}, {changed}, over {self.crops} crops"


def compare(
    network: CigPose, model: onnx.ModelProto, *, flip_test: bool, exact: bool, batches: Sequence[int]
) -> Comparison:
    """Run a network crop by crop in PyTorch and an export of it in batches in ONNX Runtime.

    Args:
        network: in eval mode.
        model: its export.
        flip_test: whether the export averages with the mirrored crop.
        exact: whether rounding is all that may differ; the crops are then those on which it cannot change a decision.
            Otherwise they are taken as they come, and there are more of them.
        batches: sizes of the batches; the last grows where there are more crops.
    """
    sizes = [*batches]
    sizes[-1] += 0 if exact else max(0, _INEXACT_CROPS - sum(batches))
    with torch.no_grad():
        crops = decided_crops(network, sum(sizes)) if exact else example_crops(network.variant, sum(sizes))
        form = FlipTested(network, network.variant.keypoint_set) if flip_test else network
        expected = concatenated([tuple(rows.numpy() for rows in form(crop[None])) for crop in crops])
        sides = (crops, crops.flip(3)) if flip_test else (crops,)
        wanted = [np.stack([_decision(network, crop) for crop in side]) for side in sides]
    session = graph_edit.cpu_session(_with_decisions(model))
    parts = [_run(session, part, sides=len(sides)) for part in crops.split(sizes)]
    taken = np.concatenate([decisions for _, decisions in parts], axis=1)
    return Comparison(
        difference=difference(expected, concatenated([rows for rows, _ in parts])),
        crops=len(crops),
        decisions=taken.size,
        changed_decisions=int((taken != np.stack(wanted)).sum()),
    )


def decided_crops(network: CigPose, count: int) -> Tensor:
    """Return `count` fixed crops (count, 3, H, W) on which the network's decision is clear."""
    crops = example_crops(network.variant, 2 * count)
    return crops[clearest(network, crops, count)]


def clearest(network: CigPose, crops: Tensor, count: int) -> Tensor:
    """Return the indices, in order, of the `count` crops on which the network's decision is clearest.

    They have the widest gap between the two least certain keypoints, in the crop and in its mirror image: where two
    keypoints tie, rounding decides, and two right implementations may answer differently.
    """
    gaps = [torch.minimum(_gaps(network, part), _gaps(network, part.flip(3))) for part in crops.split(4)]
    return torch.cat(gaps).topk(count).indices.sort().values


def _gaps(network: CigPose, crops: Tensor) -> Tensor:
    """Return (B,): by how much, relatively, the lowest confidence lies below the second lowest."""
    lowest = network.stages(crops).confidence.topk(2, largest=False).values
    return (lowest[:, 1] - lowest[:, 0]) / lowest[:, 1]


def _decision(network: CigPose, crop: Tensor) -> int:
    return int(network.stages(crop[None]).confidence.argmin())


def _with_decisions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy with one output more: the keypoint that each intervention replaces."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    (decision,) = (node.output[0] for node in shown.graph.node if node.op_type == "ArgMin")
    shown.graph.output.append(onnx.helper.make_tensor_value_info(decision, onnx.TensorProto.INT64, None))
    return shown


def _run(session: onnxruntime.InferenceSession, crops: Tensor, sides: int) -> tuple[Rows, NDArray[np.int64]]:
    """Return SimCC rows, and which keypoint of each crop was replaced: (sides, B)."""
    simcc_x, simcc_y, decisions = session.run(None, {INPUT: crops.numpy()})
    return (simcc_x, simcc_y), decisions.reshape(sides, len(crops))
