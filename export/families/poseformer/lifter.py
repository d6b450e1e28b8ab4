"""The lifter: 2-D joints and feature maps in, joints in space out. Names of modules are the official ones.

Paper: A Single 2D Pose with Context is Worth Hundreds for 3D Human Pose Estimation (arXiv 2311.03312).
Source: github.com/QitaoZhao/ContextAware-PoseFormer, pose_dformer.py.
"""
# mypy: disallow-subclassing-any=False

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ensemble.keypoints import keypoint_set
from export.families.poseformer.variants import KEYPOINTS, Variant

_JOINTS = len(keypoint_set(KEYPOINTS))
_HEADS, _SAMPLES = 4, 4  # of a context block: groups of channels, and places that each reads
_ATTENTION_EPS = 1e-6  # of the layer norms around self-attention; all others have PyTorch's 1e-5


class Lifter(nn.Module):
    """Tokens of a joint: one of its coordinates, one of each feature map; context, then exchange among all of them."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        channels, width, tokens = variant.channels, variant.width, 1 + len(variant.channels)
        joined, depth = tokens * width, range(variant.depth)
        of_maps = depth if channels else ()
        self.Spatial_pos_embed = nn.Parameter(torch.zeros(1, tokens, _JOINTS, width))
        self.coord_embed = nn.Linear(2, width)
        self.feat_embed = nn.ModuleList(nn.Linear(inputs, width) for inputs in channels)
        self.joint_blocks = nn.ModuleList(AttentionBlock(joined, variant.heads) for _ in depth)
        self.res_blocks = nn.ModuleList(AttentionBlock(width, variant.heads) for _ in of_maps)
        self.context_blocks = nn.ModuleList(ContextBlock(channels, width) for _ in of_maps)
        self.head = nn.Sequential(nn.LayerNorm(joined), nn.Linear(joined, 3))

    def forward(self, maps: Sequence[Tensor], keypoints_image: Tensor, keypoints_crop: Tensor) -> Tensor:
        """Return joints (B, J, 3) in metres, camera axes, relative to the root.

        Args:
            maps: feature maps (B, C, h, w) of the crop.
            keypoints_image: (B, J, 2) by the picture's width; the picture spans -1 to 1 along x.
            keypoints_crop: (B, J, 2); the crop spans -1 to 1, points may lie outside.
        """
        tokens = self.with_context(maps, keypoints_image, keypoints_crop)
        of_joint = tokens.transpose(1, 2).flatten(0, 1)  # (B J, tokens, width)
        for block in self.res_blocks:
            of_joint = block(of_joint)
        joints = of_joint.reshape(-1, _JOINTS, self.head[0].normalized_shape[0])
        for block in self.joint_blocks:
            joints = block(joints)
        return self.head(joints)

    def with_context(self, maps: Sequence[Tensor], keypoints_image: Tensor, keypoints_crop: Tensor) -> Tensor:
        """Return the tokens (B, tokens, J, width) after the context blocks, those of the coordinates first."""
        here = keypoints_crop.unsqueeze(2)
        seen = [
            embed(sample(features, here, "zeros").squeeze(2))
            for embed, features in zip(self.feat_embed, maps, strict=True)
        ]
        coordinates = keypoints_image if seen else keypoints_crop
        tokens = torch.stack((self.coord_embed(coordinates), *seen), 1) + self.Spatial_pos_embed
        for block in self.context_blocks:
            tokens = block(tokens, maps, here)
        return tokens


class ContextBlock(nn.Module):
    """Deformable sampling: a joint's token of a map chooses where to read that map, around the joint."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention_weights = nn.Linear(width, _HEADS * _SAMPLES)
        self.sampling_offsets = nn.Linear(width, _HEADS * _SAMPLES * 2)
        self.embed_proj = nn.ModuleList(nn.Linear(inputs, width // _HEADS) for inputs in channels)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)

    def forward(self, tokens: Tensor, maps: Sequence[Tensor], here: Tensor) -> Tensor:
        """Return the tokens (B, tokens, J, width) with context; `here` is (B, J, 1, 2). The first one stays."""
        coordinates, *levels = tokens.unbind(1)
        levels = [
            level + self._context(self.norm1(level + coordinates), features, embed, here)
            for level, features, embed in zip(levels, maps, self.embed_proj, strict=True)
        ]
        return torch.stack((coordinates, *(level + self.mlp(self.norm2(level)) for level in levels)), 1)

    def _context(self, query: Tensor, features: Tensor, embed: nn.Module, here: Tensor) -> Tensor:
        """Return what each joint (B, J, width) reads: the heads' weighted means of the map at their places."""
        weights = self.attention_weights(query).reshape(-1, _JOINTS, _HEADS, _SAMPLES).softmax(3)
        offsets = self.sampling_offsets(query).reshape(-1, _JOINTS, _HEADS * _SAMPLES, 2).tanh()
        read = embed(sample(features, here + offsets, "border"))
        of_head = read.reshape(-1, _JOINTS, _HEADS, _SAMPLES, embed.out_features)
        return (weights.unsqueeze(4) * of_head).sum(3).flatten(2)


class AttentionBlock(nn.Module):
    """Self-attention and an MLP, each behind a layer norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_ATTENTION_EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=_ATTENTION_EPS)
        self.mlp = Mlp(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, width) to the same shape."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, width) to the same shape."""
        batch, count, width = tokens.shape
        parts = self.qkv(tokens).reshape(batch, count, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        weights = (query @ key.transpose(2, 3) * (width // self.heads) ** -0.5).softmax(3)
        return self.proj((weights @ value).transpose(1, 2).reshape(batch, count, width))


class Mlp(nn.Module):
    """Two layers with twice the width between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 2 * width)
        self.fc2 = nn.Linear(2 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (..., width) to the same shape."""
        return self.fc2(functional.gelu(self.fc1(tokens)))


def sample(features: Tensor, points: Tensor, outside: str) -> Tensor:
    """Return the features (B, J, P, C) at points, bilinearly.

    Args:
        features: (B, C, h, w).
        points: (B, J, P, 2); -1 is the centre of the first cell, 1 that of the last.
        outside: `zeros` or `border`.
    """
    found = functional.grid_sample(features, points, mode="bilinear", padding_mode=outside, align_corners=True)
    return found.permute(0, 2, 3, 1)
