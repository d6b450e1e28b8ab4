"""The 14 published CIGPose networks as a table, and the type from which any other size can be built."""

from dataclasses import dataclass

from ensemble.keypoints import keypoint_set

STRIDE = 32  # input pixels per cell of the feature map
SOURCE = "github.com/53mins/CIGPose@b7444d8"  # of the published figures and of the configs behind this table
BENCHMARKS = {  # keypoint set -> what the published AP was measured on; always with flip test
    "coco_wholebody": "COCO-WholeBody v1.0 val, whole body",
    "coco": "COCO val2017, ground-truth boxes",
    "crowdpose": "CrowdPose test",
}
_DATASETS = {
    "coco-wholebody": "coco_wholebody",
    "coco-ubody": "coco_wholebody",
    "coco": "coco",
    "crowdpose": "crowdpose",
}
_FACTORS = {"m": (0.75, 0.67), "l": (1.0, 1.0), "x": (1.25, 1.33)}  # size -> widen, deepen
_SIGMAS = {(192, 256): (4.9, 5.66), (288, 384): (6.0, 6.93)}


@dataclass(frozen=True)
class Variant:
    """What distinguishes one CIGPose network from another.

    Attributes:
        name: the published file's stem; any name for a network of your own.
        keypoint_set: name of an `ensemble.keypoints` set; fixes K and the graph.
        input_size: (w, h) of the crop in pixels, multiples of 32.
        widen: factor on the backbone's channels.
        deepen: factor on the backbone's blocks.
        hidden_dims: width C of the head, a multiple of 4.
        gau_s: width of the attention unit's queries and keys.
        gcn_layers: layers of the hierarchical graph network.
        cim_k_train: keypoints the intervention replaces in training; inference always replaces one.
        sigma: (x, y) width of the SimCC label in bins, for training.
        split_ratio: SimCC bins per crop pixel.
        training_data: what the published weights were trained on.
        parameters: published number of parameters, including those unused at inference.
        average_precision: published AP on the BENCHMARKS entry of the keypoint set, with flip test.
    """

    name: str
    keypoint_set: str
    input_size: tuple[int, int]
    widen: float
    deepen: float
    hidden_dims: int
    gau_s: int
    gcn_layers: int
    cim_k_train: int
    sigma: tuple[float, float]
    split_ratio: float = 2.0
    training_data: str = ""
    parameters: int | None = None
    average_precision: float | None = None

    def __post_init__(self) -> None:
        """Check the sizes. Raises ValueError when the network cannot be built."""
        if any(side <= 0 or side % STRIDE for side in self.input_size):
            raise ValueError(f"{self.name}: the input size must be multiples of {STRIDE}, not {self.input_size}")
        if self.hidden_dims % 4:
            raise ValueError(f"{self.name}: hidden_dims must be a multiple of 4, not {self.hidden_dims}")

    @property
    def num_keypoints(self) -> int:
        """Return K."""
        return len(keypoint_set(self.keypoint_set))

    @property
    def feature_size(self) -> tuple[int, int]:
        """Return (w, h) of the backbone's feature map."""
        return self.input_size[0] // STRIDE, self.input_size[1] // STRIDE

    @property
    def bins(self) -> tuple[int, int]:
        """Return the number of SimCC bins (x, y)."""
        return int(self.input_size[0] * self.split_ratio), int(self.input_size[1] * self.split_ratio)

    @property
    def stem_channels(self) -> tuple[int, int]:
        """Return the stem's inner and outer channels."""
        return int(64 * self.widen // 2), int(64 * self.widen)

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Return the output channels of stages 1 to 4."""
        return tuple(int(channels * self.widen) for channels in (128, 256, 512, 1024))

    @property
    def stage_blocks(self) -> tuple[int, ...]:
        """Return the number of blocks in stages 1 to 4."""
        return tuple(max(round(blocks * self.deepen), 1) for blocks in (3, 6, 6, 3))


def _published(size: str, data: str, height: int, width: int, parameters: int, average_precision: float) -> Variant:
    """Describe one row of the table; file names say height x width, `input_size` is (width, height)."""
    whole_body = _DATASETS[data] == "coco_wholebody"
    hidden_dims = 512 if whole_body and height == 384 else 256
    widen, deepen = _FACTORS[size]
    return Variant(
        name=f"cigpose-{size}_{data}_{height}x{width}",
        keypoint_set=_DATASETS[data],
        input_size=(width, height),
        widen=widen,
        deepen=deepen,
        hidden_dims=hidden_dims,
        gau_s=hidden_dims // 2,
        gcn_layers=2 if data == "crowdpose" else 1,
        cim_k_train=13 if whole_body else 1,
        sigma=_SIGMAS[width, height],
        training_data=data,
        parameters=parameters,
        average_precision=average_precision,
    )


VARIANTS = {
    entry.name: entry
    for entry in (
        _published("m", "coco-wholebody", 256, 192, 18_699_856, 59.9),
        _published("l", "coco-wholebody", 256, 192, 34_227_688, 62.6),
        _published("l", "coco-wholebody", 384, 288, 37_718_696, 66.3),
        _published("x", "coco-wholebody", 384, 288, 60_817_696, 67.0),
        _published("l", "coco-ubody", 256, 192, 34_227_688, 63.1),
        _published("l", "coco-ubody", 384, 288, 37_718_696, 66.9),
        _published("x", "coco-ubody", 384, 288, 60_817_696, 67.5),
        _published("m", "coco", 256, 192, 14_304_732, 76.6),
        _published("l", "coco", 256, 192, 28_377_460, 77.6),
        _published("l", "coco", 384, 288, 28_753_140, 78.5),
        _published("m", "crowdpose", 256, 192, 14_364_697, 71.4),
        _published("l", "crowdpose", 256, 192, 28_399_793, 73.7),
        _published("l", "crowdpose", 384, 288, 28_775_473, 74.2),
        _published("x", "crowdpose", 384, 288, 50_381_737, 75.8),
    )
}
