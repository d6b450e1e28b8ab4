"""The published networks, and the description that any other size can be built from."""

from dataclasses import dataclass

from ensemble.keypoints import keypoint_set
from export.families.hrnet.variants import Hrnet

SOURCE = "github.com/cherubicXN/logocap"
WEIGHTS = f"https://{SOURCE}/releases/download/checkpoints/logocap.tar.gz"


@dataclass(frozen=True)
class Variant:
    """One network.

    Attributes:
        name: the published file stem, or any name for a network of one's own.
        architecture: the backbone.
        short_side: of its input pictures in pixels, a multiple of 64.
        offsets: channels of the layer before the offsets.
        embedding: channels of the features that the filters are predicted from.
        filter_layers: channels of the layers that predict the filters.
        reach: pixels by which a keypoint can move along each axis.
        spread: standard deviation in pixels of the Gauss function that damps far moves.
        keypoint_set: name of an `ensemble.keypoints` set.
        parameters: their number, of published networks.
    """

    name: str
    architecture: Hrnet
    short_side: int
    offsets: int = 256
    embedding: int = 64
    filter_layers: tuple[int, int, int] = (512, 256, 128)
    reach: int = 48
    spread: float = 16.0
    keypoint_set: str = "coco"
    parameters: int | None = None

    @property
    def keypoints(self) -> int:
        """Return K."""
        return len(keypoint_set(self.keypoint_set))


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("logocap-hrnet-w32-coco", Hrnet(32), 512, parameters=35_990_000),
        Variant("logocap-hrnet-w48-coco", Hrnet(48), 640, parameters=72_110_000),
    )
}
