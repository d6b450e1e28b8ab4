"""Other forms of a network: with the flip test, as a reference for exports, and with convolutions in float16.

Each maps crops (B, 3, H, W) float32 to simcc_x and simcc_y, as the network does.
"""
# mypy: disallow-subclassing-any=False

import copy

import torch
from torch import Tensor, nn

from ensemble.keypoints import keypoint_set
from export.families.cigpose.head import HeadStages
from export.families.cigpose.network import CigPose


class FlipTested(nn.Module):
    """Average the predictions for a crop and for its mirror image, in one pass with twice the batch.

    Source: MMPose 1.3.2, flip test of RTMCCHead (no shift by one bin); every published CIGPose accuracy uses it.
    """

    def __init__(self, network: nn.Module, keypoint_set_name: str) -> None:
        """Wrap `network`, whose rows are those of the keypoint set."""
        super().__init__()
        self.network = network
        partners = keypoint_set(keypoint_set_name).flip_indices
        self.register_buffer("partners", torch.tensor(partners), persistent=False)
        self.train(network.training)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Predict SimCC rows, shapes as those of the network."""
        count = crops.shape[0]
        simcc_x, simcc_y = self.network(torch.cat((crops, crops.flip(3))))
        mirrored_x = simcc_x[count:][:, self.partners].flip(2)
        mirrored_y = simcc_y[count:][:, self.partners]
        return (simcc_x[:count] + mirrored_x) * 0.5, (simcc_y[:count] + mirrored_y) * 0.5


class HalfBackbone(nn.Module):
    """The network with its convolutions in float16 and all that follows them in float32.

    The head stays in float32, and is a small part of the work. Its intervention depends on confidence gaps below the
    resolution of float16. Its ScaleNorm and its squared attention scores overflow float16.
    """

    def __init__(self, network: CigPose) -> None:
        """Copy the convolutions of `network` to float16; the head is shared."""
        super().__init__()
        self.backbone = copy.deepcopy(network.backbone).half()
        self.final_layer = copy.deepcopy(network.head.final_layer).half()
        self.head = network.head
        self.train(network.training)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Predict SimCC rows, float32, shapes as those of the network."""
        stages = self.stages(crops)
        return stages.simcc_x, stages.simcc_y

    def stages(self, crops: Tensor) -> HeadStages:
        """Predict, and return everything the head computes on the way."""
        heatmaps = self.final_layer(self.backbone(crops.half()))
        return self.head.reason(heatmaps.float().flatten(2))
