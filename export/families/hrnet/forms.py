"""Other forms of a network: with the flip test, and in float16. Each maps crops (B, 3, H, W) to float32 heat maps."""
# mypy: disallow-subclassing-any=False

import copy

import torch
from torch import Tensor, nn

from ensemble.keypoints import keypoint_set
from export.families.hrnet.variants import Variant
from export.flip import mirrored_columns


class FlipTested(nn.Module):
    """Average the heat maps of a crop and of its mirror image, both in one pass of twice the batch."""

    def __init__(self, network: nn.Module, variant: Variant, shift: bool = True) -> None:
        """Wrap `network`, whose heat maps are those of the variant; see `export.flip.mirrored_columns` for `shift`."""
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


class Half(nn.Module):
    """The network in float16, with float32 at both ends; the maps differ, the peaks hardly move."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).half()
        self.train(network.training)

    def forward(self, crops: Tensor) -> Tensor:
        """Predict heat maps, shapes as those of the network."""
        return self.network(crops.half()).float()
