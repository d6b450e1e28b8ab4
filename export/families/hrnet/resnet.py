"""SimpleBaseline: crops in, heat maps of a quarter of their size out. Names of modules are the official ones.

Source: github.com/microsoft/human-pose-estimation.pytorch, pose_resnet.py ("pytorch style": the stride of a bottleneck
is in its 3x3 convolution).
"""
# mypy: disallow-subclassing-any=False

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from export.families.hrnet.blocks import BasicBlock, Block, Bottleneck, layer
from export.families.hrnet.variants import Resnet


class PoseResnet(nn.Module):
    """The whole network; `load_state_dict` is strict and takes official checkpoints as they are.

    Attributes:
        last_stage: names of the parts between `shared` and `final_layer`, which Graph-PCNN has twice.
        features: channels that these parts answer.
    """

    last_stage: ClassVar[tuple[str, ...]] = ("layer4", "deconv_layers")

    def __init__(self, architecture: Resnet, keypoints: int) -> None:
        """Build the network for K = `keypoints` heat maps."""
        super().__init__()
        block: Block = Bottleneck if architecture.bottleneck else BasicBlock
        width, (first, second, third, fourth) = architecture.width, architecture.blocks
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = layer(block, width, width, first)
        self.layer2 = layer(block, width * block.expansion, 2 * width, second, stride=2)
        self.layer3 = layer(block, 2 * width * block.expansion, 4 * width, third, stride=2)
        self.layer4 = layer(block, 4 * width * block.expansion, 8 * width, fourth, stride=2)
        self.deconv_layers = _upsampling(8 * width * block.expansion, architecture.deconv)
        self.final_layer = nn.Conv2d(architecture.deconv, keypoints, 1)
        self.features = architecture.deconv

    def forward(self, crops: Tensor) -> Tensor:
        """Map normalised crops (B, 3, H, W) to heat maps (B, K, H / 4, W / 4)."""
        return self.final_layer(self.branch(self.shared(crops), (self.layer4, self.deconv_layers)))

    def shared(self, crops: Tensor) -> Tensor:
        """Return the output of layer 3, at stride 16."""
        x = functional.relu(self.bn1(self.conv1(crops)))
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        return self.layer3(self.layer2(self.layer1(x)))

    @staticmethod
    def branch(shared: Tensor, parts: Sequence[nn.Module]) -> Tensor:
        """Run the last stage, or a copy of its parts, and return (B, features, H / 4, W / 4)."""
        for part in parts:
            shared = part(shared)
        return shared


def _upsampling(inputs: int, width: int) -> nn.Sequential:
    """Return three transposed convolutions of stride 2."""
    steps: list[nn.Module] = []
    for _ in range(3):
        steps += [nn.ConvTranspose2d(inputs, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*steps)
