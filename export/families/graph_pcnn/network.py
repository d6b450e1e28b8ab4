"""The whole network: crops in, coarse and refined keypoints out; names of stage 1 are the baseline's own."""
# mypy: disallow-subclassing-any=False

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from export.families.graph_pcnn.refinement import GraphRefinement, fully_connected, guided_points, sample
from export.families.graph_pcnn.variants import Variant
from export.families.hrnet.network import HeatmapNetwork, build

COPY = "loc_"  # before the names of the parts that stage 2 has a second time


class Keypoints(NamedTuple):
    """What the network answers, in cells of its heat maps.

    Attributes:
        refined: (B, K, 2), after stage 2.
        coarse: (B, K, 2), the guided points of stage 1.
        scores: (B, K), maxima of the heat maps; stage 2's own classification is a training signal, not a score.
    """

    refined: Tensor
    coarse: Tensor
    scores: Tensor


class GraphPcnn(nn.Module):
    """Stage 1, a second copy of its last stage with weights of its own, and the graph on top of that.

    `load_state_dict` is strict. The parts of stage 1 keep their official names (`conv1`, `layer1` ... `final_layer`);
    stage 2 is `loc_stage4` or `loc_layer4` and `loc_deconv_layers`, then `gpr`, `fc`, `cls` and `reg`.
    """

    def __init__(self, variant: Variant, baseline: HeatmapNetwork) -> None:
        """Build the network on top of a baseline, which becomes part of it.

        Args:
            variant: its sizes.
            baseline: network of `variant.baseline`; both branches start with its weights.
        """
        super().__init__()
        self.variant = variant
        for name, part in baseline.named_children():
            self.add_module(name, part)
        for name in baseline.last_stage:
            self.add_module(COPY + name, copy.deepcopy(getattr(baseline, name)))
        self.gpr = GraphRefinement(variant.keypoints, variant.edges, baseline.features, variant.width)
        self.fc = fully_connected(variant.width, variant.hidden)
        self.cls = nn.Linear(variant.hidden, 2)
        self.reg = nn.Linear(variant.hidden, 2)
        self._stage1 = (baseline,)  # a tuple hides it from PyTorch: its parts are registered under their own names
        self.train(baseline.training)

    def forward(self, crops: Tensor) -> Keypoints:
        """Predict from normalised crops (B, 3, H, W)."""
        heatmaps, features = self.maps(crops)
        coarse, scores = guided_points(heatmaps, self.size)
        return Keypoints(coarse + self.offsets(features, coarse, scores), coarse, scores)

    @property
    def stage1(self) -> HeatmapNetwork:
        """Return the baseline alone; its parts are this network's."""
        return self._stage1[0]

    @property
    def trained(self) -> bool:
        """Return whether stage 2 moves keypoints; on top of a baseline it starts with offsets of zero."""
        return bool(self.reg.weight.any() or self.reg.bias.any())

    @property
    def size(self) -> tuple[int, int]:
        """Return (w, h) of the heat maps."""
        return self.variant.baseline.heatmap_size

    def maps(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Return heat maps (B, K, h, w), those of the baseline, and the features (B, C, h, w) of stage 2.

        Stage 1 may compute in float16 (`forms.with_half_stage1`); both answers are float32.
        """
        stage1 = self.stage1
        shared = stage1.shared(crops.to(stage1.final_layer.weight.dtype))
        branch = stage1.branch(shared, [getattr(self, name) for name in stage1.last_stage])
        copied = [getattr(self, COPY + name) for name in stage1.last_stage]
        kind = self.reg.weight.dtype
        as_float = [each.to(kind) for each in shared] if isinstance(shared, list) else shared.to(kind)
        return stage1.final_layer(branch).to(kind), stage1.branch(as_float, copied)

    def offsets(self, features: Tensor, points: Tensor, scores: Tensor) -> Tensor:
        """Return by how much stage 2 moves guided points (B, K, 2), at test time."""
        reliable = scores > self.variant.reliable
        return self.refine(sample(features, points, self.size), self.neighbour_weights(scores, reliable))[0]

    def refine(self, features: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Run the graph and the heads.

        Args:
            features: (B, K, C) at the guided points.
            weights: (B, K) of the keypoints as neighbours.

        Returns:
            offsets (B, K, 2) in cells; logits (B, K, 2), the second one says that the point lies near the keypoint.
        """
        refined = self.fc(self.gpr(features, weights).flatten(0, 1))
        shape = (-1, self.variant.keypoints, 2)
        return self.reg(refined).reshape(shape), self.cls(refined).reshape(shape)

    def neighbour_weights(self, heat: Tensor, reliable: Tensor) -> Tensor:
        """Return how much each point counts for its neighbours, from its heat (B, K) and its reliability (B, K)."""
        if self.variant.graph == "full":
            return heat * reliable.to(heat.dtype)
        return torch.ones_like(heat) if self.variant.graph == "ones" else torch.zeros_like(heat)


def on_top_of(baseline: HeatmapNetwork, variant: Variant) -> GraphPcnn:
    """Return the network with both branches as the baseline has them and stage 2 untrained, in the baseline's mode.

    The baseline is left as it is. The offsets start at zero, so that the untrained stage 2 changes no keypoint.
    """
    network = GraphPcnn(variant, copy.deepcopy(baseline))
    nn.init.zeros_(network.reg.weight)
    nn.init.zeros_(network.reg.bias)
    return network


def new(variant: Variant) -> GraphPcnn:
    """Return the network of a variant with initial weights, in eval mode; seed PyTorch where they must repeat."""
    return on_top_of(build(variant.baseline), variant)
