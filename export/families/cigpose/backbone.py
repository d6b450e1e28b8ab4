"""CSPNeXt, the backbone: maps a crop to a feature map of 1/32 of its size.

Names of modules are those of the checkpoints. Source: MMDetection 3.3.0, CSPNeXt (arch P5), as the CIGPose official
configs (commit b7444d8) set it up. The configs override the normalisation settings of the class, so eps is 1e-5.
"""
# mypy: disallow-subclassing-any=False

import torch
from torch import Tensor, nn
from torch.nn import functional

_POOLS = (5, 9, 13)  # kernel sizes of the spatial pyramid


class ConvModule(nn.Module):
    """Convolution without bias, batch normalisation, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h / stride, w / stride)."""
        return functional.silu(self.bn(self.conv(x)))


class DepthwiseSeparable(nn.Module):
    """A depthwise and a pointwise convolution, each with normalisation and SiLU."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise_conv = ConvModule(channels, channels, kernel, groups=channels)
        self.pointwise_conv = ConvModule(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, channels, h, w)."""
        return self.pointwise_conv(self.depthwise_conv(x))


class Block(nn.Module):
    """A 3x3 convolution and a separable 5x5 one; with `residual`, the input is added to the result."""

    def __init__(self, channels: int, residual: bool) -> None:
        super().__init__()
        self.conv1 = ConvModule(channels, channels, 3)
        self.conv2 = DepthwiseSeparable(channels, 5)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, channels, h, w)."""
        y = self.conv2(self.conv1(x))
        return x + y if self.residual else y


class ChannelAttention(nn.Module):
    """Scale every channel by a gate computed from the channels' averages."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, channels, h, w)."""
        return x * functional.hardsigmoid(self.fc(functional.adaptive_avg_pool2d(x, 1)))


class CspLayer(nn.Module):
    """Half of the channels pass through the blocks and half bypass them; attention and fusion follow."""

    def __init__(self, channels: int, blocks: int, residual: bool) -> None:
        super().__init__()
        half = channels // 2
        self.main_conv = ConvModule(channels, half, 1)
        self.short_conv = ConvModule(channels, half, 1)
        self.final_conv = ConvModule(2 * half, channels, 1)
        self.blocks = nn.Sequential(*(Block(half, residual) for _ in range(blocks)))
        self.attention = ChannelAttention(2 * half)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, channels, h, w)."""
        both = torch.cat((self.blocks(self.main_conv(x)), self.short_conv(x)), dim=1)
        return self.final_conv(self.attention(both))


class SpatialPyramid(nn.Module):
    """Max pooling at three sizes, side by side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = ConvModule(channels, half, 1)
        self.conv2 = ConvModule(half * (1 + len(_POOLS)), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, channels, h, w)."""
        x = self.conv1(x)
        pooled = [functional.max_pool2d(x, kernel, stride=1, padding=kernel // 2) for kernel in _POOLS]
        return self.conv2(torch.cat((x, *pooled), dim=1))


class CspNext(nn.Module):
    """The whole backbone: `stem`, then `stage1` to `stage4`."""

    def __init__(self, stem: tuple[int, int], channels: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        """Build the backbone.

        Args:
            stem: inner and outer channels of the stem.
            channels: output channels of the four stages.
            blocks: blocks in each of them.
        """
        super().__init__()
        inner, outer = stem
        self.stem = nn.Sequential(
            ConvModule(3, inner, 3, stride=2), ConvModule(inner, inner, 3), ConvModule(inner, outer, 3)
        )
        self.stage1 = _stage(outer, channels[0], blocks[0])
        self.stage2 = _stage(channels[0], channels[1], blocks[1])
        self.stage3 = _stage(channels[1], channels[2], blocks[2])
        self.stage4 = _stage(channels[2], channels[3], blocks[3], last=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised RGB (B, 3, H, W) to features (B, channels[3], H / 32, W / 32)."""
        return self.stage4(self.stage3(self.stage2(self.stage1(self.stem(x)))))


def _stage(inputs: int, outputs: int, blocks: int, last: bool = False) -> nn.Sequential:
    """Return one stage; the last has a spatial pyramid and no residual connections."""
    pyramid = [SpatialPyramid(outputs)] if last else []
    return nn.Sequential(
        ConvModule(inputs, outputs, 3, stride=2), *pyramid, CspLayer(outputs, blocks, residual=not last)
    )
