"""Other forms of a network: with the flip test, and with a reduced precision of stage 1.

Stage 2 stays in float32 whatever the precision: a neighbour counts or does not by its maximum being above 0.85, a hard
gate, and it refines coordinates by hundredths of a cell where float16 has steps of 1/64.
"""
# mypy: disallow-subclassing-any=False

import copy
import re

import onnx
import torch
from torch import Tensor, nn

from ensemble.keypoints import keypoint_set
from export.families.graph_pcnn.network import GraphPcnn, Keypoints
from export.families.graph_pcnn.refinement import guided_points
from export.families.hrnet.forms import merged
from export.families.hrnet.variants import STRIDE
from export.flip import mirrored_columns

_OF_STAGE2 = re.compile(r"/(loc_|gpr|fc|cls|reg)")  # in the names of nodes, which are those of the modules


def with_half_stage1(network: GraphPcnn) -> GraphPcnn:
    """Return a copy whose stage 1 computes in float16."""
    halved = copy.deepcopy(network)
    for name, _ in halved.stage1.named_children():
        getattr(halved, name).half()
    return halved


class FlipTested(nn.Module):
    """Average with the mirrored crop: the heat maps before the peaks are taken, then stage 2's offsets.

    Pixel x of a crop is pixel W - 1 - x of its mirror image, so a point at x cells lies at (W - 1) / 4 - x there. The
    heat maps are mirrored by whole columns and therefore shifted; features are read at that point instead. Read at
    w - 1 - x, as if cells mirrored onto cells, every averaged offset would be wrong by 3/8 of a cell.
    """

    def __init__(self, network: GraphPcnn) -> None:
        super().__init__()
        self.network = network
        self.variant = network.variant
        self.across = (network.variant.baseline.input_size[0] - 1) / STRIDE
        partners = keypoint_set(network.variant.baseline.keypoint_set).flip_indices
        self.register_buffer("partners", torch.tensor(partners), persistent=False)
        self.register_buffer("columns", torch.tensor(mirrored_columns(network.size[0], True)), persistent=False)
        self.register_buffer("mirror", torch.tensor([-1.0, 1.0]), persistent=False)
        self.train(network.training)

    def forward(self, crops: Tensor) -> Keypoints:
        """Predict from normalised crops (B, 3, H, W)."""
        count = crops.shape[0]
        heatmaps, features = self.maps(crops)
        coarse, scores = guided_points(heatmaps, self.network.size)
        seen = self.network.offsets(features[:count], coarse, scores)
        across = torch.cat((self.across - coarse[..., :1], coarse[..., 1:]), 2)[:, self.partners]
        mirrored = self.network.offsets(features[count:], across, scores[:, self.partners])
        back = mirrored[:, self.partners] * self.mirror
        return Keypoints(coarse + (seen + back) * 0.5, coarse, scores)

    def maps(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Return the averaged heat maps (B, K, h, w) and the features (2B, C, h, w), those of mirror images last."""
        heatmaps, features = self.network.maps(torch.cat((crops, crops.flip(3))))
        first, second = heatmaps[: crops.shape[0]], heatmaps[crops.shape[0] :]
        return merged(first, second, self.partners, self.columns), features


def stage2_weights(model: onnx.ModelProto) -> set[str]:
    """Return the names of the weights of stage 2 in an export, for `store_half` to leave alone."""
    used = {name for node in model.graph.node if _OF_STAGE2.match(node.name) for name in node.input}
    return used & {tensor.name for tensor in model.graph.initializer}
