"""The whole network: `build(variant)` gives a module whose `state_dict` has the official names, order and shapes."""

from typing import TypeAlias

from torch import nn

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
