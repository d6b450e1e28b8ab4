"""The published heat-map networks as one table, and the descriptions that any other size can be built from."""

import re
from dataclasses import dataclass
from typing import TypeAlias

STRIDE = 4  # crop pixels per cell of the heat maps
_COARSEST = 32  # crop pixels per cell of the coarsest feature map; the crop's sides are multiples of it
_SIZE = re.compile(r"(?<![0-9A-Za-z])(\d{2,4})x(\d{2,4})(?!\d)")  # height x width; not the `d256x3` of training configs

SOURCE = "github.com/leoxiaobin/deep-high-resolution-net.pytorch and github.com/microsoft/human-pose-estimation.pytorch"
BENCHMARK = "COCO val2017, boxes of a detector with person AP 56.4, with flip test"  # of all figures in this table
_WEIGHTS = {  # where the publishers keep them; both folders are linked from the repositories of SOURCE
    "resnet": "https://drive.google.com/drive/folders/13_wJ6nC7my1KKouMkQMqyr9r1ZnLnukP",
    "hrnet": "https://drive.google.com/drive/folders/1hOTihvbyIxsm5ygDpbUuJ7O_tzv4oXjC",
}


@dataclass(frozen=True)
class Resnet:
    """SimpleBaseline: a ResNet, three transposed convolutions and one convolution to the heat maps.

    Attributes:
        blocks: residual blocks in layers 1 to 4.
        bottleneck: blocks of three convolutions, else of two.
        width: channels of the stem.
        deconv: channels of the transposed convolutions.
    """

    blocks: tuple[int, int, int, int]
    bottleneck: bool = True
    width: int = 64
    deconv: int = 256

    @property
    def name(self) -> str:
        """As in published file names: the number of layers."""
        of_block = 3 if self.bottleneck else 2
        return f"resnet_{2 + of_block * sum(self.blocks)}"


@dataclass(frozen=True)
class Hrnet:
    """HRNet: four branches of falling resolution that exchange what they see.

    Attributes:
        width: channels of the finest branch; each coarser one has twice as many.
        modules: exchange modules in stages 2 to 4.
        blocks: residual blocks of each branch in one module.
        stem: channels of the stem.
        bottlenecks: blocks of `layer1`, which has four times as many channels as the stem.
    """

    width: int
    modules: tuple[int, int, int] = (1, 4, 3)
    blocks: int = 4
    stem: int = 64
    bottlenecks: int = 4

    @property
    def name(self) -> str:
        """As in published file names."""
        return f"hrnet_w{self.width}"

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """Channels of the branches, finest first."""
        return self.width, 2 * self.width, 4 * self.width, 8 * self.width


Architecture: TypeAlias = Resnet | Hrnet


@dataclass(frozen=True)
class Variant:
    """One network: an architecture and the crop that it was trained for.

    Attributes:
        name: the published file stem, or any name for a network of one's own.
        architecture: what the network is built of.
        input_size: (w, h) of the crop in pixels, multiples of 32.
        keypoint_set: name of an `ensemble.keypoints` set.
        channel_order: of the crop: `rgb` or `bgr`, with mean and standard deviation of RGB in either case, since the
            official ResNets were fed OpenCV's BGR like that.
        parameters: number of parameters.
        average_precision: published AP on BENCHMARK, in per cent.
        weights: where the publisher keeps them.
    """

    name: str
    architecture: Architecture
    input_size: tuple[int, int]
    keypoint_set: str = "coco"
    channel_order: str = "rgb"
    parameters: int | None = None
    average_precision: float | None = None
    weights: str = ""

    def __post_init__(self) -> None:
        if any(side <= 0 or side % _COARSEST for side in self.input_size):
            raise ValueError(f"{self.name}: the input size must be multiples of {_COARSEST}, not {self.input_size}")

    @property
    def heatmap_size(self) -> tuple[int, int]:
        """Return (w, h) of the heat maps."""
        return self.input_size[0] // STRIDE, self.input_size[1] // STRIDE

    @property
    def sigma(self) -> float:
        """Width of a heat map's peak in cells, as the official configs train it."""
        return 3.0 if self.input_size[1] >= 384 else 2.0


def variant(name: str) -> Variant:
    """Return the variant called `pose_<architecture>_<h>x<w>`, published or of a published architecture.

    Raises:
        ValueError: there is none (the message lists the published ones).
    """
    if name in VARIANTS:
        return VARIANTS[name]
    size = size_in_name(name)
    for architecture in ARCHITECTURES:
        if size and name == f"pose_{architecture.name}_{size[1]}x{size[0]}":
            return variant_of(architecture, size)
    raise ValueError(f"unknown variant {name!r}; known: {', '.join(VARIANTS)}")


def variant_of(architecture: Architecture, input_size: tuple[int, int], keypoint_set: str = "coco") -> Variant:
    """Return the published variant of an architecture and a crop of (w, h), or describe an unpublished one alike."""
    name = f"pose_{architecture.name}_{input_size[1]}x{input_size[0]}"
    published = VARIANTS.get(name)
    if published and (published.architecture, published.keypoint_set) == (architecture, keypoint_set):
        return published
    order = "bgr" if isinstance(architecture, Resnet) else "rgb"
    return Variant(name, architecture, input_size, keypoint_set, order)


def size_in_name(name: str) -> tuple[int, int] | None:
    """Return the (w, h) that a file name states as `<h>x<w>`, None where it states none or several."""
    found = {(int(width), int(height)) for height, width in _SIZE.findall(name)}
    return found.pop() if len(found) == 1 else None


def _published(architecture: Architecture, height: int, parameters: int, average_precision: float) -> Variant:
    width = height * 3 // 4
    resnet = isinstance(architecture, Resnet)
    return Variant(
        name=f"pose_{architecture.name}_{height}x{width}",
        architecture=architecture,
        input_size=(width, height),
        channel_order="bgr" if resnet else "rgb",
        parameters=parameters,
        average_precision=average_precision,
        weights=_WEIGHTS["resnet" if resnet else "hrnet"],
    )


_TABLE: tuple[tuple[Architecture, int, dict[int, float]], ...] = (  # parameters; AP by height of the crop
    (Resnet((3, 4, 6, 3)), 33_999_697, {256: 70.4, 384: 72.2}),
    (Resnet((3, 4, 23, 3)), 52_991_825, {256: 71.4, 384: 73.6}),
    (Resnet((3, 8, 36, 3)), 68_635_473, {256: 72.0, 384: 74.3}),
    (Hrnet(32), 28_536_113, {256: 74.4, 384: 75.8}),
    (Hrnet(48), 63_595_745, {256: 75.1, 384: 76.3}),
)
ARCHITECTURES = tuple(architecture for architecture, _, _ in _TABLE)
VARIANTS = {
    entry.name: entry
    for entry in (
        _published(architecture, height, parameters, average_precision)
        for architecture, parameters, precisions in _TABLE
        for height, average_precision in precisions.items()
    )
}
