"""The whole network: `build(variant)` gives a module whose `state_dict` has the official names, order and shapes."""
# mypy: disallow-subclassing-any=False

from torch import Tensor, nn

from export.families.cigpose.backbone import CspNext
from export.families.cigpose.head import CigHead, HeadStages
from export.families.cigpose.variants import Variant


class CigPose(nn.Module):
    """Backbone and head.

    `load_state_dict` is strict and accepts official checkpoints unchanged, with the entries unused at inference. In
    training mode, batch statistics are used and the head intervenes on `cim_k_train` keypoints.
    """

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.variant = variant
        self.backbone = CspNext(variant.stem_channels, variant.stage_channels, variant.stage_blocks)
        self.head = CigHead(variant, variant.stage_channels[-1])

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Predict SimCC rows.

        Args:
            crops: (B, 3, H, W) float32, RGB, normalised by `families.top_down.MEAN` and `STD`.

        Returns:
            simcc_x (B, K, W * split_ratio) and simcc_y (B, K, H * split_ratio), float32 logits.
        """
        stages = self.stages(crops)
        return stages.simcc_x, stages.simcc_y

    def stages(self, crops: Tensor) -> HeadStages:
        """Predict, and return everything the head computes on the way (for losses and for inspection)."""
        return self.head.stages(self.backbone(crops))


def build(variant: Variant) -> CigPose:
    """Return the network of `variant`, in eval mode, with initial weights.

    The head starts from the official initial values (linear layers: normal, std 0.01), the backbone from PyTorch's.
    Seed PyTorch first for reproducible weights.
    """
    network = CigPose(variant)
    for module in network.head.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    network.eval()
    return network
