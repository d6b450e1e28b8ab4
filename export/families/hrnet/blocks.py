"""The residual blocks that ResNet and HRNet are built of; names of modules are those of the official checkpoints."""
# mypy: disallow-subclassing-any=False

from typing import TypeAlias

from torch import Tensor, nn
from torch.nn import functional


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around which the input is added."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, planes, 3, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = convolution(planes, planes, 3)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = _shortcut(inputs, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, planes, h / stride, w / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones, around which the input is added; the stride is in the 3x3."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, planes, 1)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = convolution(planes, planes, 3, stride)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = convolution(planes, self.expansion * planes, 1)
        self.bn3 = nn.BatchNorm2d(self.expansion * planes)
        self.downsample = _shortcut(inputs, self.expansion * planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, expansion * planes, h / stride, w / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


Block: TypeAlias = type[BasicBlock] | type[Bottleneck]


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution without bias that keeps the size (divided by the stride)."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


def layer(block: Block, inputs: int, planes: int, count: int, stride: int = 1) -> nn.Sequential:
    """Return `count` blocks in a row; the first one has the stride."""
    width = planes * block.expansion
    return nn.Sequential(block(inputs, planes, stride), *(block(width, planes) for _ in range(count - 1)))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """Return what brings a block's input to the size of its output, None where they are alike."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
