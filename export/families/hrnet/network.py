"""The whole network: `build(variant)` gives a module whose `state_dict` has the official names, order and shapes."""

from typing import TypeAlias

import torch
from torch import Tensor, nn

from ensemble.keypoints import keypoint_set
from export.families.hrnet.hrnet import PoseHrnet
from export.families.hrnet.resnet import PoseResnet
from export.families.hrnet.variants import Architecture, Resnet, Variant

HeatmapNetwork: TypeAlias = PoseResnet | PoseHrnet


def build(variant: Variant) -> HeatmapNetwork:
    """Return the network of `variant`, in eval mode, with PyTorch's initial weights; seed first where they must repeat.

    The last convolution starts near zero, as in the official code, so that the first heat maps are flat.
    """
    network = of_architecture(variant.architecture, len(keypoint_set(variant.keypoint_set)))
    nn.init.normal_(network.final_layer.weight, std=0.001)
    nn.init.zeros_(network.final_layer.bias)
    network.eval()
    return network


def of_architecture(architecture: Architecture, keypoints: int) -> HeatmapNetwork:
    """Return the network of an architecture with K = `keypoints` heat maps, in training mode."""
    if isinstance(architecture, Resnet):
        return PoseResnet(architecture, keypoints)
    return PoseHrnet(architecture, keypoints)


def example_crops(variant: Variant, count: int, seed: int = 0) -> Tensor:
    """Return `count` different crops (count, 3, H, W) float32 of a picture's magnitude, the same for the same seed."""
    width, height = variant.input_size
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn((count, 3, height // 16, width // 16), generator=generator)
    fine = torch.randn((count, 3, height, width), generator=generator)
    return nn.functional.interpolate(coarse, size=(height, width), mode="nearest") + 0.3 * fine
