"""Other forms of a network: with the flip test, and with a backbone in float16. Inputs and outputs are the network's.

The lifter stays in float32 whatever the precision: it reads the maps at places that depend on single cells.
"""
# mypy: disallow-subclassing-any=False

import copy

import torch
from torch import Tensor, nn

from ensemble.keypoints import keypoint_set
from export.families.poseformer.network import PoseFormer
from export.families.poseformer.variants import KEYPOINTS


class FlipTested(nn.Module):
    """Average with the joints of the mirrored crop, both in one pass of twice the batch.

    Pixel x of a crop is pixel W - 1 - x of its mirror image, but x pixels are 2 x / W - 1 for the lifter. So a point at
    x lies at -x - 2 / W there, and not at -x. The trained networks were evaluated like that.
    """

    def __init__(self, network: nn.Module, width: int) -> None:
        """Wrap a network for crops of `width` pixels."""
        super().__init__()
        self.network = network
        partners = keypoint_set(KEYPOINTS).flip_indices
        self.register_buffer("partners", torch.tensor(partners), persistent=False)
        self.register_buffer("mirror", torch.tensor([-1.0, 1.0]), persistent=False)
        self.register_buffer("mirror_3d", torch.tensor([-1.0, 1.0, 1.0]), persistent=False)
        self.register_buffer("shift", torch.tensor([2 / width, 0.0]), persistent=False)
        self.train(network.training)

    def forward(self, crop: Tensor, keypoints_image: Tensor, keypoints_crop: Tensor) -> Tensor:
        """Return joints (B, J, 3); arguments: see `PoseFormer.forward`."""
        count = crop.shape[0]
        image = keypoints_image[:, self.partners] * self.mirror
        in_crop = keypoints_crop[:, self.partners] * self.mirror - self.shift
        both = self.network(
            torch.cat((crop, crop.flip(3))),
            torch.cat((keypoints_image, image)),
            torch.cat((keypoints_crop, in_crop)),
        )
        return (both[:count] + both[count:, self.partners] * self.mirror_3d) * 0.5


class HalfBackbone(nn.Module):
    """The network with its backbone in float16."""

    def __init__(self, network: PoseFormer) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(network.backbone).half()
        self.volume_net = network.volume_net
        self.train(network.training)

    def forward(self, crop: Tensor, keypoints_image: Tensor, keypoints_crop: Tensor) -> Tensor:
        """Return joints (B, J, 3); arguments: see `PoseFormer.forward`."""
        maps = [features.float() for features in self.backbone(crop.half())]
        return self.volume_net(maps, keypoints_image, keypoints_crop)
