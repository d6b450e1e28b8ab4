"""The whole network: a crop and its 2-D joints in, 3-D joints out; `load_state_dict` is strict."""
# mypy: disallow-subclassing-any=False

from torch import Tensor, nn

from export.families.poseformer.backbones import features_of
from export.families.poseformer.lifter import Lifter
from export.families.poseformer.variants import Variant


class PoseFormer(nn.Module):
    """A backbone and a lifter; names, order and shapes of the `state_dict` are the official ones."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.variant = variant
        if variant.context == "maps":
            self.backbone = features_of(variant.backbone, variant.finest)
        self.volume_net = Lifter(variant)

    def forward(self, crop: Tensor, keypoints_image: Tensor, keypoints_crop: Tensor) -> Tensor:
        """Return joints (B, J, 3); normalised crop (B, 3, H, W), keypoints as `Lifter.forward` takes them."""
        return self.volume_net(self.maps(crop), keypoints_image, keypoints_crop)

    def maps(self, crop: Tensor) -> list[Tensor]:
        """Return the feature maps (B, C, h, w) of a normalised crop; zeros are of one cell."""
        if self.variant.context == "maps":
            maps: list[Tensor] = self.backbone(crop)
            return maps
        return [crop.new_zeros(crop.shape[0], channels, 1, 1) for channels in self.variant.channels]


def build(variant: Variant) -> PoseFormer:
    """Return the network of `variant`, in eval mode, with PyTorch's initial weights; seed first where they must repeat.

    The last layer starts near zero, so that all joints start near the root.
    """
    network = PoseFormer(variant)
    nn.init.normal_(network.volume_net.head[1].weight, std=0.001)
    nn.init.zeros_(network.volume_net.head[1].bias)
    network.eval()
    return network
