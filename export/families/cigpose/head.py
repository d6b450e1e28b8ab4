"""CIGPose's head: maps a feature map to SimCC rows, with the causal intervention on the least certain keypoints.

Source: CIGPose official repository, commit b7444d8, CIGHead. It inherits from MMPose's RTMCCHead, so checkpoints hold
three layers (`mlp`, `cls_x`, `cls_y`) that are not used.
"""
# mypy: disallow-subclassing-any=False

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.families.cigpose.graph_network import GraphNetwork
from export.families.cigpose.graphs import graph
from export.families.cigpose.variants import Variant


class HeadStages(NamedTuple):
    """Everything the head computes, in order.

    Attributes:
        heatmaps: (B, K, F), F cells of the feature map, row-major.
        embedded: (B, K, C) features before the attention unit.
        attended: (B, K, C) features after the attention unit, the input of the intervention.
        confidence: (B, K) mean of the two softmax maxima of the preliminary prediction; carries no gradient.
        intervened: (B, K) bool, the keypoints whose features were replaced.
        refined: (B, K, C) features after the graph network.
        simcc_x: (B, K, W * split_ratio) logits.
        simcc_y: (B, K, H * split_ratio) logits.
    """

    heatmaps: Tensor
    embedded: Tensor
    attended: Tensor
    confidence: Tensor
    intervened: Tensor
    refined: Tensor
    simcc_x: Tensor
    simcc_y: Tensor


class ScaleNorm(nn.Module):
    """Divide a row by its root mean square and scale it by one learned factor."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1))
        self.factor = width**-0.5

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (..., width)."""
        rms = torch.sqrt((x * x).sum(-1, keepdim=True)) * self.factor
        return x / rms.clamp(min=1e-5) * self.g


class Scale(nn.Module):
    """One learned factor for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (..., width)."""
        return x * self.scale


class GatedAttention(nn.Module):
    """Gated attention unit over the keypoints, with squared relu in place of softmax."""

    def __init__(self, width: int, s: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(2, s))
        self.beta = nn.Parameter(torch.rand(2, s))
        self.o = nn.Linear(2 * width, width, bias=False)
        self.uv = nn.Linear(width, 4 * width + s, bias=False)
        self.ln = ScaleNorm(width)
        self.res_scale = Scale(width)
        self.sizes = (2 * width, 2 * width, s)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, K, width)."""
        gate, value, base = functional.silu(self.uv(self.ln(x))).split(self.sizes, dim=-1)
        query = base * self.gamma[0] + self.beta[0]
        key = base * self.gamma[1] + self.beta[1]
        scores = functional.relu(query @ key.transpose(1, 2) * self.sizes[-1] ** -0.5)
        return self.res_scale(x) + self.o(gate * (scores * scores @ value))


class Intervention(nn.Module):
    """Replace the features of the least certain keypoints by learned, context-free ones."""

    def __init__(self, keypoints: int, width: int) -> None:
        super().__init__()
        self.canonical_features = nn.Embedding(keypoints, width)
        self.register_buffer("indices", torch.arange(keypoints), persistent=False)

    def forward(self, x: Tensor, confidence: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Intervene on the `count` keypoints of lowest confidence.

        Args:
            x: (B, K, width) features.
            confidence: (B, K).
            count: number of keypoints in each sample.

        Returns:
            the features, same shape; the mask (B, K) bool of the replaced keypoints.
        """
        if count == 1:  # ArgMin instead of TopK: the graph has fewer operators
            mask = self.indices == confidence.argmin(1, keepdim=True)
        else:
            lowest = confidence.topk(count, dim=1, largest=False).indices
            mask = (self.indices == lowest.unsqueeze(-1)).any(1)
        return torch.where(mask.unsqueeze(-1), self.canonical_features.weight, x), mask


class CigHead(nn.Module):
    """The whole head. In training it intervenes on `cim_k_train` keypoints, otherwise on one."""

    def __init__(self, variant: Variant, inputs: int) -> None:
        """Build the head of `variant` for a feature map of `inputs` channels."""
        super().__init__()
        keypoints, width, (bins_x, bins_y) = variant.num_keypoints, variant.hidden_dims, variant.bins
        cells = variant.feature_size[0] * variant.feature_size[1]
        self.cim_k_train = variant.cim_k_train
        self.final_layer = nn.Conv2d(inputs, keypoints, 7, padding=3)
        self.mlp = nn.Sequential(ScaleNorm(cells), nn.Linear(cells, width, bias=False))  # unused
        self.gau = GatedAttention(width, variant.gau_s)
        self.cls_x = nn.Linear(width, bins_x, bias=False)  # unused
        self.cls_y = nn.Linear(width, bins_y, bias=False)  # unused
        self.mlp_pre_gau = nn.Sequential(ScaleNorm(cells), nn.Linear(cells, width, bias=False))
        self.initial_pred_x = nn.Linear(width, bins_x)
        self.initial_pred_y = nn.Linear(width, bins_y)
        self.cim = Intervention(keypoints, width)
        self.gcn = GraphNetwork(width, keypoints, variant.gcn_layers, graph(variant.keypoint_set))
        self.cls_gx = nn.Linear(width, bins_x)
        self.cls_gy = nn.Linear(width, bins_y)

    def forward(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, inputs, h, w) to simcc_x (B, K, W * split_ratio) and simcc_y (B, K, H * split_ratio)."""
        stages = self.stages(feature_map)
        return stages.simcc_x, stages.simcc_y

    def stages(self, feature_map: Tensor) -> HeadStages:
        """Run the head and return everything it computes on the way."""
        return self.reason(self.final_layer(feature_map).flatten(2))

    def reason(self, heatmaps: Tensor) -> HeadStages:
        """Run everything after the convolution, from heatmaps (B, K, F)."""
        embedded = self.mlp_pre_gau(heatmaps)
        attended = self.gau(embedded)
        confidence = self.confidence(attended)
        features, mask = self.cim(attended, confidence, self.cim_k_train if self.training else 1)
        refined = self.gcn(features)
        simcc_x, simcc_y = self.cls_gx(refined), self.cls_gy(refined)
        return HeadStages(heatmaps, embedded, attended, confidence, mask, refined, simcc_x, simcc_y)

    def confidence(self, attended: Tensor) -> Tensor:
        """Return the confidence (B, K) of the preliminary prediction from features (B, K, C), without gradient."""
        detached = attended.detach()
        peaks = [layer(detached).softmax(-1).amax(-1) for layer in (self.initial_pred_x, self.initial_pred_y)]
        return (peaks[0] + peaks[1]).detach() * 0.5
