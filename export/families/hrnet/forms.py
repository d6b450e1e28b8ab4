"""Other forms of a network: with the flip test, and in float16. Each maps crops (B, 3, H, W) to float32 heat maps."""
# mypy: disallow-subclassing-any=False

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ensemble.keypoints import keypoint_set
from export.families.hrnet.variants import Variant


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


class Half(nn.Module):
    """The network in float16, with float32 at both ends; the maps differ, the peaks hardly move."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).half()
        self.train(network.training)

    def forward(self, crops: Tensor) -> Tensor:
        """Predict heat maps, shapes as those of the network."""
        return self.network(crops.half()).float()
