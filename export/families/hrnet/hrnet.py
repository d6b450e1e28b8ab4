"""HRNet: crops in, heat maps of a quarter of their size out, or the maps of all resolutions for other heads.

Names of modules are the official ones. Source: github.com/leoxiaobin/deep-high-resolution-net.pytorch, pose_hrnet.py.

The official modules overwrite the list that they are given. These do not: whatever else reads a list (Graph-PCNN's
second branch, Context-Aware PoseFormer's coarse levels) calls `run_branches` and `fuse` and takes what it needs.
"""
# mypy: disallow-subclassing-any=False

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from export.families.hrnet.blocks import BasicBlock, Bottleneck, convolution, layer
from export.families.hrnet.variants import Hrnet

Maps = list[Tensor]  # one map a branch, finest first: (B, C, h, w), (B, 2C, h / 2, w / 2) ...


class ExchangeModule(nn.Module):
    """Residual blocks on every branch, then every output is the sum of all branches at its resolution."""

    def __init__(self, channels: Sequence[int], blocks: int, outputs: int) -> None:
        """Build the module.

        Args:
            channels: of the branches, finest first.
            blocks: of each branch.
            outputs: how many of the resolutions it answers, finest first.
        """
        super().__init__()
        self.branches = nn.ModuleList(layer(BasicBlock, width, width, blocks) for width in channels)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_resampling(channels, source, target) for source in range(len(channels)))
            for target in range(outputs)
        )

    def forward(self, maps: Maps) -> Maps:
        """Return the fused maps; the given list stays as it is."""
        return self.fuse(self.run_branches(maps))

    def run_branches(self, maps: Maps) -> Maps:
        """Return the maps after the residual blocks, before any exchange."""
        return [branch(x) for branch, x in zip(self.branches, maps, strict=True)]

    def fuse(self, maps: Maps) -> Maps:
        """Return the sums at each output's resolution, after the rectifier."""
        return [functional.relu(_sum([step(x) for step, x in zip(row, maps, strict=True)])) for row in self.fuse_layers]


class HighResolutionNet(nn.Module):
    """The network up to stage 4, for any head.

    Attributes:
        channels: of the branches, finest first.
    """

    def __init__(self, architecture: Hrnet, outputs: int = 1) -> None:
        """Build the network.

        Args:
            architecture: its sizes.
            outputs: resolutions that stage 4 answers: 1 for top-down networks, 4 for LOGO-CAP.
        """
        super().__init__()
        self.channels = architecture.channels
        stem, wide = architecture.stem, architecture.stem * Bottleneck.expansion
        self.conv1 = convolution(3, stem, 3, stride=2)
        self.bn1 = nn.BatchNorm2d(stem)
        self.conv2 = convolution(stem, stem, 3, stride=2)
        self.bn2 = nn.BatchNorm2d(stem)
        self.layer1 = layer(Bottleneck, stem, stem, architecture.bottlenecks)
        blocks, (second, third, fourth) = architecture.blocks, architecture.modules
        self.transition1 = _transition([wide], self.channels[:2])
        self.stage2 = _stage(self.channels[:2], second, blocks)
        self.transition2 = _transition(self.channels[:2], self.channels[:3])
        self.stage3 = _stage(self.channels[:3], third, blocks)
        self.transition3 = _transition(self.channels[:3], self.channels)
        self.stage4 = _stage(self.channels, fourth, blocks, outputs)

    def before_stage4(self, crops: Tensor) -> Maps:
        """Map normalised crops (B, 3, H, W) to the four maps that stage 4 takes."""
        x = functional.relu(self.bn1(self.conv1(crops)))
        x = self.layer1(functional.relu(self.bn2(self.conv2(x))))
        maps = self.stage2([step(x) for step in self.transition1])
        maps = self.stage3(_widened(maps, self.transition2))
        return _widened(maps, self.transition3)


class PoseHrnet(HighResolutionNet):
    """The top-down network; `load_state_dict` is strict and takes official checkpoints as they are.

    Attributes:
        last_stage: names of the parts between `shared` and `final_layer`, which Graph-PCNN has twice.
        features: channels that these parts answer.
    """

    last_stage: ClassVar[tuple[str, ...]] = ("stage4",)

    def __init__(self, architecture: Hrnet, keypoints: int) -> None:
        """Build the network for K = `keypoints` heat maps."""
        super().__init__(architecture)
        self.final_layer = nn.Conv2d(self.channels[0], keypoints, 1)
        self.features = self.channels[0]

    def forward(self, crops: Tensor) -> Tensor:
        """Map normalised crops (B, 3, H, W) to heat maps (B, K, H / 4, W / 4)."""
        return self.final_layer(self.branch(self.shared(crops), (self.stage4,)))

    def shared(self, crops: Tensor) -> Maps:
        """Return the four maps after transition 3."""
        return self.before_stage4(crops)

    @staticmethod
    def branch(shared: Maps, parts: Sequence[nn.Module]) -> Tensor:
        """Run stage 4, or a copy of it, and return (B, features, H / 4, W / 4)."""
        (stage4,) = parts
        return stage4(shared)[0]


def _stage(channels: Sequence[int], modules: int, blocks: int, outputs: int | None = None) -> nn.Sequential:
    """Return a row of modules; the last one answers `outputs` resolutions, all by default."""
    every = len(channels)
    counts = [every] * (modules - 1) + [outputs or every]
    return nn.Sequential(*(ExchangeModule(channels, blocks, count) for count in counts))


def _transition(before: Sequence[int], after: Sequence[int]) -> nn.ModuleList:
    """Return one step a branch: nothing where it goes on as it is, else a convolution; a new one halves the size."""
    steps: list[nn.Module] = []
    for index, width in enumerate(after):
        if index >= len(before):
            steps.append(nn.Sequential(nn.Sequential(*_normalised(before[-1], width, 3, stride=2), nn.ReLU())))
        elif before[index] == width:
            steps.append(nn.Identity())
        else:
            steps.append(nn.Sequential(*_normalised(before[index], width, 3), nn.ReLU()))
    return nn.ModuleList(steps)


def _widened(maps: Maps, transition: nn.ModuleList) -> Maps:
    """Return the maps and one coarser map, made of the coarsest."""
    return [step(x) for step, x in zip(transition, [*maps, maps[-1]], strict=True)]


def _resampling(channels: Sequence[int], source: int, target: int) -> nn.Module:
    """Return what brings a branch's map to the size of another branch's."""
    inputs, outputs = channels[source], channels[target]
    if source == target:
        return nn.Identity()
    if source > target:
        upsample = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
        return nn.Sequential(*_normalised(inputs, outputs, 1), upsample)
    halvings = [nn.Sequential(*_normalised(inputs, inputs, 3, 2), nn.ReLU()) for _ in range(target - source - 1)]
    return nn.Sequential(*halvings, nn.Sequential(*_normalised(inputs, outputs, 3, 2)))


def _normalised(inputs: int, outputs: int, kernel: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    return convolution(inputs, outputs, kernel, stride), nn.BatchNorm2d(outputs)


def _sum(values: Sequence[Tensor]) -> Tensor:
    total, *rest = values
    for value in rest:
        total = total + value
    return total
