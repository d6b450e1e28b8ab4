"""The sizes of the paper as one table, and the description that any other size can be built from."""

from dataclasses import dataclass

from ensemble.keypoints import keypoint_set
from export.families.hrnet import variants as baselines

SOURCE = "arXiv 2007.10599"
OUTPUTS = ("keypoints", "coarse_keypoints", "scores")  # of exported files: after stage 2, after stage 1
NO_WEIGHTS = "no public weights of stage 2 exist; a baseline's checkpoint starts both stages, then it must be trained"
LIMBS = "15-13 13-11 16-14 14-12 11-12 5-11 6-12 5-6 5-7 6-8 7-9 8-10 1-2 0-1 0-2 1-3 2-4 3-5 4-6"  # COCO's 19
GRAPHS = ("full", "ones", "none")
_PRECISION = {  # average precision after stage 2 on COCO val2017 by height of the crop, in per cent, with flip test
    "resnet_50": {128: 64.6, 256: 72.6, 384: 73.6},
    "resnet_101": {128: 64.8},
    "resnet_152": {128: 66.1},
    "hrnet_w32": {128: 71.5, 256: 76.2, 384: 77.2},
    "hrnet_w48": {128: 72.8},
}
_HEIGHTS = (128, 256, 384)


@dataclass(frozen=True)
class Variant:
    """A heat-map network and the sizes of the second stage on top of it.

    Attributes:
        name: the published name, or any name for a network of one's own.
        baseline: stage 1.
        limbs: edges of the graph as `a-b`, 0-based keypoints; part of the network, like its weights.
        width: channels of the refined features.
        hidden: channels of the two fully connected layers.
        reliable: maximum of a heat map from which on its point helps its neighbours.
        graph: `full`; for ablations `ones` (every neighbour counts in full) or `none` (neighbours do not count).
        average_precision: as the paper has it, on COCO val2017 with flip test, in per cent.
    """

    name: str
    baseline: baselines.Variant
    limbs: str = LIMBS
    width: int = 128
    hidden: int = 256
    reliable: float = 0.85
    graph: str = "full"
    average_precision: float | None = None

    def __post_init__(self) -> None:
        if self.graph not in GRAPHS:
            raise ValueError(f"{self.name}: unknown graph {self.graph!r}; known: {', '.join(GRAPHS)}")

    @property
    def keypoints(self) -> int:
        """Return K."""
        return len(keypoint_set(self.baseline.keypoint_set))

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Return the limbs as pairs of keypoints."""
        pairs = (limb.split("-") for limb in self.limbs.split())
        return tuple((int(a), int(b)) for a, b in pairs)


def variant_of(baseline: baselines.Variant) -> Variant:
    """Return the variant on top of a heat-map network, with the paper's figure where it has one."""
    precision = _PRECISION.get(baseline.architecture.name, {}).get(baseline.input_size[1])
    return Variant(f"graphpcnn_{baseline.name.removeprefix('pose_')}", baseline, average_precision=precision)


VARIANTS = {
    entry.name: entry
    for entry in (
        variant_of(baselines.variant_of(architecture, (height * 3 // 4, height)))
        for architecture in baselines.ARCHITECTURES
        for height in _HEIGHTS
    )
}
