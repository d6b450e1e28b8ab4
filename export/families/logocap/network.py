"""LOGO-CAP's networks: the backbone with its heads, and the layers that predict a filter for each keypoint.

Names of modules are those of the official checkpoints, so that they load strictly.
"""
# mypy: disallow-subclassing-any=False

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.families.hrnet.hrnet import HighResolutionNet
from export.families.logocap.variants import Variant

FILTER = 11  # side of a filter, and of the grid of features that it is predicted from
_AFFINE_PAIRS = 20
_EPSILON = 1e-3  # of the attention's input


class Maps(NamedTuple):
    """What the dense part answers, at a quarter of the picture's size.

    Attributes:
        heatmaps: (B, K + 1, h, w): one map a keypoint, then that of the centres.
        offsets: (B, 2 K, h, w): x and y of centre minus keypoint for each keypoint, in cells.
        embedding: (B, C, h, w): the features that filters are predicted from.
    """

    heatmaps: Tensor
    offsets: Tensor
    embedding: Tensor


class LogoCap(nn.Module):
    """The whole network; `load_state_dict` is strict and takes official checkpoints as they are.

    `forms.FlipTested` turns what it answers into poses.
    """

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.variant = variant
        self.backbone = HighResolutionNet(variant.architecture, outputs=4)
        channels, width, count = sum(self.backbone.channels), variant.architecture.width, variant.keypoints
        self.transition_cls = _projection(channels, width)
        self.transition_reg = _projection(channels, variant.offsets)
        self.final_layer_cls = nn.Conv2d(width, count + 1, 1)
        self.final_layer_reg = nn.Conv2d(variant.offsets, 2 * count, 1)
        self.transition_embedding = _projection(channels, variant.embedding)
        first, second, third = variant.filter_layers
        self.joints_mlp = nn.Sequential(
            nn.Conv2d(count * variant.embedding, first, 3, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, padding=1, bias=False),
            AttentiveNorm(second),
            nn.ReLU(),
            nn.Conv2d(second, third, 3, padding=1, bias=False),
            nn.BatchNorm2d(third),
            nn.ReLU(),
            nn.Conv2d(third, count, 1),
        )

    def forward(self, pictures: Tensor) -> Maps:
        """Predict from normalised pictures (B, 3, H, W), H and W multiples of 64."""
        fine, *coarse = self.backbone.stage4(self.backbone.before_stage4(pictures))
        resized = [_enlarged(each, 2 ** (level + 1)) for level, each in enumerate(coarse)]
        features = torch.cat((fine, *resized), 1)
        return Maps(
            self.final_layer_cls(self.transition_cls(features)),
            self.final_layer_reg(self.transition_reg(features)),
            self.transition_embedding(features),
        )

    def filters(self, features: Tensor) -> Tensor:
        """Predict the filters (P, K, 11, 11) of P people, before they are clamped to 0 and 1.

        Args:
            features: (P, K, C, 11, 11), the embedding around each keypoint.
        """
        return self.joints_mlp(features.flatten(1, 2))


class AttentiveNorm(nn.BatchNorm2d):
    """Batch normalisation whose scale and bias are mixed, for each sample, from several learned pairs.

    Source: Attentive Normalization (arXiv 1908.01259), as the official code has it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=False)
        self.weight_ = nn.Parameter(torch.empty(_AFFINE_PAIRS, channels))
        self.bias_ = nn.Parameter(torch.empty(_AFFINE_PAIRS, channels))
        nn.init.normal_(self.weight_, 1, 0.1)
        nn.init.normal_(self.bias_, 0, 0.1)
        self.attn_weights = nn.Module()
        self.attn_weights.attention = nn.Sequential(nn.Conv2d(channels, _AFFINE_PAIRS, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (P, channels, 11, 11)."""
        mean = x.mean((2, 3), keepdim=True)
        variance = ((x - mean) ** 2).sum((2, 3), keepdim=True) / (FILTER**2 - 1)
        logits = self.attn_weights.attention(mean * torch.rsqrt(variance + _EPSILON)).flatten(1)
        shares = functional.relu6(logits + 3) / 6
        scale, bias = ((shares @ pairs)[:, :, None, None] for pairs in (self.weight_, self.bias_))
        return scale * super().forward(x) + bias


def build(variant: Variant) -> LogoCap:
    """Return the network of a variant with PyTorch's initial weights, in eval mode."""
    network = LogoCap(variant)
    network.eval()
    return network


def _projection(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def _enlarged(maps: Tensor, factor: int) -> Tensor:
    return functional.interpolate(maps, scale_factor=factor, mode="bilinear", align_corners=False)
