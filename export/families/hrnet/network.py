"""The whole network: `build(variant)` gives a module whose `state_dict` has the official names, order and shapes."""
# mypy: disallow-subclassing-any=False

from collections.abc import Sequence
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


class FlipTested(nn.Module):
    """Average the heat maps of a crop and of its mirror image, both in one pass of twice the batch."""

    def __init__(self, network: nn.Module, variant: Variant, shift: bool = True) -> None:
        """Wrap `network`, whose heat maps are those of the variant; see `mirrored_columns` for `shift`."""
        super().__init__()
        self.network = network
        partners = keypoint_set(variant.keypoint_set).flip_indices
        self.register_buffer("partners", torch.tensor(partners), persistent=False)
        columns = mirrored_columns(variant.heatmap_size[0], shift)
        self.register_buffer("columns", torch.tensor(columns), persistent=False)
        self.train(network.training)

    def forward(self, crops: Tensor) -> Tensor:
        """Predict heat maps, shapes as those of the network."""
        count = crops.shape[0]
        heatmaps = self.network(torch.cat((crops, crops.flip(3))))
        return merged(heatmaps[:count], heatmaps[count:], self.partners, self.columns)


def merged(heatmaps: Tensor, mirrored: Tensor, partners: Tensor, columns: Tensor) -> Tensor:
    """Return the mean of heat maps (B, K, h, w) and of those of the mirrored crops, set back in place."""
    return (heatmaps + mirrored[:, partners][..., columns]) * 0.5


def mirrored_columns(width: int, shift: bool) -> Sequence[int]:
    """Return which column of a mirrored heat map belongs at each column: (w,).

    Args:
        width: w, cells.
        shift: one column to the right, as all but UDP networks need it, since their mirror image is off by nearly a
            cell; column 0 keeps its value.

    Source: the official `flip_back` and SHIFT_HEATMAP; MMPose 1.3.2, flip_heatmaps.
    """
    backwards = range(width - 1, -1, -1)
    return [width - 1, *backwards[:-1]] if shift else list(backwards)
