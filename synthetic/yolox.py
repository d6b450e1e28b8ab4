"""A small person detector with YOLOX's raw output: no anchors, decoupled head, levels of stride 8, 16 and 32."""
# mypy: disallow-subclassing-any=False

import math

import torch
from torch import Tensor, nn

from export.detectors.yolox import STRIDES, grid

_CHANNELS = (16, 32, 48, 96, 128)  # after each halving of the picture
_BLOCKS = (0, 1, 2, 2, 2)
_WIDTH = 48  # of neck and head
_PRIOR = 0.01  # initial probability of a person in a cell


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return convolution, batch normalisation and SiLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.SiLU()
    )


class Residual(nn.Module):
    """A bottleneck of half the width, added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(width, width // 2, 1), conv(width // 2, width, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape."""
        return x + self.body(x)


class SmallYolox(nn.Module):
    """The detector: one row of outputs for each cell."""

    def __init__(self) -> None:
        super().__init__()
        stages, inputs = [], 3
        for outputs, blocks in zip(_CHANNELS, _BLOCKS, strict=True):
            stages.append(nn.Sequential(conv(inputs, outputs, 3, 2), *(Residual(outputs) for _ in range(blocks))))
            inputs = outputs
        self.stages = nn.ModuleList(stages)
        self.lateral = nn.ModuleList([conv(channels, _WIDTH, 1) for channels in _CHANNELS[2:]])
        self.merge = nn.ModuleList([conv(_WIDTH, _WIDTH, 3) for _ in STRIDES])
        self.box_tower, self.class_tower = conv(_WIDTH, _WIDTH, 3), conv(_WIDTH, _WIDTH, 3)
        self.box, self.objectness, self.category = (nn.Conv2d(_WIDTH, outputs, 1) for outputs in (4, 1, 1))
        for layer in (self.objectness, self.category):
            nn.init.constant_(layer.bias, -math.log((1 - _PRIOR) / _PRIOR))

    def forward(self, images: Tensor) -> Tensor:
        """Return the output of YOLOX's ONNX files.

        Args:
            images: (B, 3, S, S) float32, BGR, 0 to 255, letterboxed.

        Returns:
            (B, A, 6) float32: offset of the centre from the cell (x, y) and log of the size (w, h), in strides;
            probability of an object; probability of a person. Cells are in row-major order, stride 8 first.
        """
        rows = self.logits(images)
        return torch.cat((rows[..., :4], rows[..., 4:].sigmoid()), dim=-1)

    def logits(self, images: Tensor) -> Tensor:
        """Return the same rows (B, A, 6) before the sigmoid."""
        x, levels = images / 64 - 2, []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        features = [lateral(level) for lateral, level in zip(self.lateral, levels[2:], strict=True)]
        for index in (1, 0):
            features[index] = features[index] + nn.functional.interpolate(features[index + 1], scale_factor=2.0)
        return torch.cat([self._head(merge(x)) for merge, x in zip(self.merge, features, strict=True)], dim=1)

    def _head(self, x: Tensor) -> Tensor:
        regression, classification = self.box_tower(x), self.class_tower(x)
        rows = torch.cat((self.box(regression), self.objectness(regression), self.category(classification)), dim=1)
        return rows.flatten(2).transpose(1, 2)


def cells(size: int) -> tuple[Tensor, Tensor]:
    """Return the column and row (A, 2) and the stride (A,) of every cell of a square picture, float32."""
    corners, strides = grid((size, size))
    return torch.from_numpy(corners), torch.from_numpy(strides[:, 0])
