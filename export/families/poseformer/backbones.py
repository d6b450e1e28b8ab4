"""The backbones: crops in, four feature maps out. Names of modules are the official ones.

Source of CPN: github.com/GengDavid/pytorch-cpn; paper: arXiv 1711.07319. Only names, shapes and the order of operations
are taken from the official code.
"""
# mypy: disallow-subclassing-any=False

from typing import TypeAlias

from torch import Tensor, nn
from torch.nn import functional

from export.families.cigpose.backbone import CspNext
from export.families.hrnet.blocks import Bottleneck, convolution, layer
from export.families.hrnet.hrnet import HighResolutionNet
from export.families.hrnet.variants import Resnet
from export.families.poseformer.variants import Backbone, Cpn, Cspnext

Maps: TypeAlias = list[Tensor]  # four maps (B, C, h, w)
_LEVELS = 4
_KEYPOINTS = 17  # of the layers that predict heat maps, which are in the checkpoints but have no use here


class HrnetFeatures(HighResolutionNet):
    """HRNet's finest fused map, and the coarser branches of stage 4 before their first exchange.

    The official stage overwrites the list that it is given, and the official network reads that list afterwards.
    """

    def forward(self, crops: Tensor) -> Maps:
        """Map normalised crops (B, 3, H, W) to maps at strides 4, 8, 16 and 32."""
        first, *rest = self.stage4
        branches = first.run_branches(self.before_stage4(crops))
        maps = first.fuse(branches)
        for module in rest:
            maps = module(maps)
        return [maps[0], *branches[1:]]


class CpnFeatures(nn.Module):
    """The refined pyramid of CPN, all levels at the finest size, coarsest source first."""

    def __init__(self, cpn: Cpn, finest: tuple[int, int]) -> None:
        """Build the network; `finest` is the (w, h) of its maps."""
        super().__init__()
        size = finest[::-1]
        self.resnet = _Trunk(cpn.resnet)
        self.global_net = _Pyramid(self.resnet.channels[::-1], cpn.width, size)
        self.refine_net = _Refinement(cpn.width, size)

    def forward(self, crops: Tensor) -> Maps:
        """Map normalised crops (B, 3, H, W) to four maps (B, width, H / 4, W / 4)."""
        maps: Maps = self.refine_net(self.global_net(self.resnet(crops)[::-1]))
        return maps


class CspnextFeatures(CspNext):
    """The outputs of CSPNeXt's stages."""

    def forward(self, crops: Tensor) -> Maps:
        """Map normalised crops (B, 3, H, W) to maps at strides 4, 8, 16 and 32."""
        x, maps = self.stem(crops), []
        for stage in (self.stage1, self.stage2, self.stage3, self.stage4):
            x = stage(x)
            maps.append(x)
        return maps


def features_of(backbone: Backbone, finest: tuple[int, int]) -> HrnetFeatures | CpnFeatures | CspnextFeatures:
    """Return a backbone in training mode, with PyTorch's initial weights; `finest` is the (w, h) of its finest map."""
    if isinstance(backbone, Cspnext):
        return CspnextFeatures(backbone.stem, backbone.channels, backbone.blocks)
    return CpnFeatures(backbone, finest) if isinstance(backbone, Cpn) else HrnetFeatures(backbone)


class _Trunk(nn.Module):
    """ResNet; answers the outputs of its four layers, finest first.

    Attributes:
        channels: of the four outputs.
    """

    def __init__(self, resnet: Resnet) -> None:
        super().__init__()
        width = resnet.width
        self.channels = [width * Bottleneck.expansion * 2**level for level in range(_LEVELS)]
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for level, (count, outputs) in enumerate(zip(resnet.blocks, self.channels, strict=True)):
            planes, stride = outputs // Bottleneck.expansion, 2 if level else 1
            self.add_module(f"layer{level + 1}", layer(Bottleneck, inputs, planes, count, stride))
            inputs = outputs

    def forward(self, crops: Tensor) -> Maps:
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(crops))), 3, stride=2, padding=1)
        maps = []
        for level in range(_LEVELS):
            x = getattr(self, f"layer{level + 1}")(x)
            maps.append(x)
        return maps


class _Pyramid(nn.Module):
    """Every level is its own map and the coarser level, scaled up; `predict` is for training only."""

    def __init__(self, channels: list[int], width: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(
            nn.Sequential(convolution(inputs, width, 1), nn.BatchNorm2d(width), nn.ReLU()) for inputs in channels
        )
        self.upsamples = nn.ModuleList(
            nn.Sequential(_doubled(), convolution(width, width, 1), nn.BatchNorm2d(width)) for _ in channels[1:]
        )
        self.predict = nn.ModuleList(
            nn.Sequential(
                *(convolution(width, width, 1), nn.BatchNorm2d(width), nn.ReLU()),
                *(convolution(width, _KEYPOINTS, 3), _resized(size), nn.BatchNorm2d(_KEYPOINTS)),
            )
            for _ in channels
        )

    def forward(self, maps: Maps) -> Maps:
        first, *finer = maps
        levels = [self.laterals[0](first)]
        for upsample, lateral, x in zip(self.upsamples, list(self.laterals)[1:], finer, strict=True):
            levels.append(lateral(x) + upsample(levels[-1]))
        return levels


class _Refinement(nn.Module):
    """The coarser a level, the more bottlenecks; `final_predict` is for training only."""

    def __init__(self, width: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.cascade = nn.ModuleList(
            nn.Sequential(*(_Projected(width, width) for _ in range(_LEVELS - 1 - level)), _resized(size))
            for level in range(_LEVELS)
        )
        self.final_predict = nn.Sequential(
            _Projected(_LEVELS * width, width), convolution(width, _KEYPOINTS, 3), nn.BatchNorm2d(_KEYPOINTS)
        )

    def forward(self, levels: Maps) -> Maps:
        return [refine(x) for refine, x in zip(self.cascade, levels, strict=True)]


class _Projected(Bottleneck):
    """A bottleneck of half the width, always with a projection around it."""

    expansion = 2

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs // self.expansion)
        self.downsample = nn.Sequential(convolution(inputs, outputs, 1), nn.BatchNorm2d(outputs))


def _doubled() -> nn.Module:
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)


def _resized(size: tuple[int, int]) -> nn.Module:
    return nn.Upsample(size=size, mode="bilinear", align_corners=True)
