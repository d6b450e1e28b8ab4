"""The published networks as one table, and the sizes that any other one can be built from."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from export.families.hrnet.variants import STRIDE, Hrnet, Resnet
from export.families.top_down import MEAN, STD

SOURCE = "github.com/QitaoZhao/ContextAware-PoseFormer"
WEIGHTS = "https://drive.google.com/drive/folders/1O_i3OUTnqlkLWFu_3WKPU7YepWhItd59"
BENCHMARK = "Human3.6M"  # of all variants; its licence and the weights' are for academic use
INPUTS = ("crop", "keypoints_image", "keypoints_crop")  # of exported files
OUTPUT = "keypoints_3d"
KEYPOINTS = "human36m"
_CPN_MEAN = (122.7717, 115.9465, 102.9801)  # of channels R, G, B of pixels 0..255


@dataclass(frozen=True)
class Cpn:
    """Cascaded pyramid network: a ResNet, a pyramid from coarse to fine, and its refinement.

    Attributes:
        resnet: the trunk; its transposed convolutions are not used.
        width: channels of every level.
    """

    resnet: Resnet
    width: int = 256

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """Channels of the four maps."""
        return (self.width,) * 4


@dataclass(frozen=True)
class Cspnext:
    """CSPNeXt, the backbone of CIGPose: the outputs of its four stages.

    Attributes:
        stem: inner and outer channels of the stem.
        channels: channels of the stages.
        blocks: blocks of the stages.
    """

    stem: tuple[int, int]
    channels: tuple[int, ...]
    blocks: tuple[int, ...]


Backbone: TypeAlias = Hrnet | Cpn | Cspnext


@dataclass(frozen=True)
class Variant:
    """A backbone of four feature maps, and the sizes of the lifter on top of it.

    Attributes:
        name: the published name, or any name for a network of your own.
        backbone: what the feature maps come from.
        width: channels of a token.
        depth: number of blocks of each of the three kinds.
        heads: attention heads.
        input_size: (w, h) of the crop in pixels.
        context: `maps`, or for comparison without a backbone: `zeros` (the lifter reads maps of zeros, the paper's
            ablation) or `none` (it has tokens of the coordinates in the crop alone).
        parameters: number of parameters, of the backbone and the lifter.
    """

    name: str
    backbone: Backbone
    width: int = 128
    depth: int = 4
    heads: int = 8
    input_size: tuple[int, int] = (192, 256)
    context: Literal["maps", "zeros", "none"] = "maps"
    parameters: int | None = None

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the feature maps that the lifter reads."""
        return () if self.context == "none" else self.backbone.channels

    @property
    def mean(self) -> tuple[float, ...]:
        """Means of channels R, G, B of pixels 0..255, as the backbone was trained."""
        return _CPN_MEAN if isinstance(self.backbone, Cpn) else MEAN

    @property
    def std(self) -> tuple[float, ...]:
        """Divisors of the channels."""
        return (255.0,) * 3 if isinstance(self.backbone, Cpn) else STD

    @property
    def finest(self) -> tuple[int, int]:
        """Return (w, h) of the finest feature map."""
        return self.input_size[0] // STRIDE, self.input_size[1] // STRIDE


VARIANTS = {
    entry.name: entry
    for entry in (
        Variant("capf_hrnet_32", Hrnet(32), parameters=42_629_699),
        Variant("capf_hrnet_48", Hrnet(48), parameters=77_750_499),
        Variant("capf_cpn", Cpn(Resnet((3, 4, 6, 3))), parameters=41_640_237),
    )
}
SMALL = Variant(  # trained here, on the backbone of cigpose-t_rendered_256x192
    "capf-t_rendered_256x192", Cspnext((8, 16), (32, 64, 128, 256), (1, 2, 2, 1)), width=48, depth=2, heads=4
)
