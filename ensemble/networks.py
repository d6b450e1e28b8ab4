"""Networks in served form, as the pipelines see them: input and output tensors, and how outputs are decoded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ensemble.geometry import Letterbox, Size
from ensemble.request_parameters import RequestParameters
from ensemble.steps import Step
from ensemble.steps.decode_coordinates import DecodeCoordinates
from ensemble.steps.decode_heatmaps import DecodeHeatmaps
from ensemble.steps.decode_simcc import DecodeSimcc
from ensemble.tensors import (
    BOXES,
    COARSE_KEYPOINTS,
    GRID_KEYPOINTS,
    GRID_SCORES,
    HEATMAPS,
    LETTERBOXED,
    SCORES,
    SIMCC_X,
    SIMCC_Y,
    Tensor,
)

MAX_PERSONS = RequestParameters().max_persons
DETECTOR = "detector"


@dataclass(frozen=True)
class Network:
    """An ONNX graph as a member of pipelines.

    Attributes:
        name: name of the model that serves it.
        inputs: input tensors, without the batch axis.
        outputs: output tensors, without the batch axis.
        max_batch_size: most items in one execution; 0 for a graph without a batch axis.
        source: provenance, shown in the model's config.
        per_person: whether it runs once for each person. Such a network does most of the work.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int
    source: Mapping[str, str] = field(default_factory=dict)
    per_person: bool = False


@dataclass(frozen=True)
class Detector:
    """A person detector in served form: uint8 letterboxed picture in, candidate boxes and scores out.

    Attributes:
        input_size: (w, h) of the letterboxed picture.
        candidates: number of boxes for every picture, before thresholds.
        max_batch_size: most pictures in one execution.
        source: provenance, shown in the model's config.
        bbox_threshold: default of the request parameter; families differ in what a score means.
    """

    input_size: Size
    candidates: int
    max_batch_size: int = 8
    source: Mapping[str, str] = field(default_factory=dict)
    bbox_threshold: float = RequestParameters.bbox_threshold

    @property
    def letterbox(self) -> Letterbox:
        """The letterbox that makes its input from a picture."""
        return Letterbox(self.input_size)

    @property
    def network(self) -> Network:
        """The detector as a member of pipelines."""
        width, height = self.input_size
        answers = BOXES.sized(self.candidates, 4), SCORES.sized(self.candidates)
        return Network(DETECTOR, (LETTERBOXED.sized(height, width, 3),), answers, self.max_batch_size, self.source)


class Head(Protocol):
    """The outputs of a top-down network, and the step that decodes them to keypoints."""

    def outputs(self, keypoints: int) -> tuple[Tensor, ...]:
        """Return the network's output tensors for one person."""

    @property
    def decoder(self) -> Step:
        """The step that maps these outputs, `centers` and `scales` to `keypoints` and `keypoint_scores`."""


@dataclass(frozen=True)
class SimCC:
    """SimCC outputs: one row of bins for each keypoint and axis.

    Attributes:
        bins: number of bins along x and along y; the bins span the crop.
    """

    bins: Size

    def outputs(self, keypoints: int) -> tuple[Tensor, ...]:
        """Return `simcc_x` and `simcc_y`, (K, bins) each."""
        return SIMCC_X.sized(keypoints, self.bins[0]), SIMCC_Y.sized(keypoints, self.bins[1])

    @property
    def decoder(self) -> Step:
        """The decoding step, which all SimCC networks share."""
        return DecodeSimcc()


@dataclass(frozen=True)
class Heatmaps:
    """One map for each keypoint.

    Attributes:
        size: (w, h) of a map in cells; the map spans the crop.
        decoding: see `DecodeHeatmaps`.
        blur: likewise.
        search: likewise.
        offset: likewise.
    """

    size: Size
    decoding: str = DecodeHeatmaps.decoding
    blur: int = DecodeHeatmaps.blur
    search: str = DecodeHeatmaps.search
    offset: float = DecodeHeatmaps.offset

    def outputs(self, keypoints: int) -> tuple[Tensor, ...]:
        """Return the maps."""
        return (HEATMAPS.sized(keypoints, self.size[1], self.size[0]),)

    @property
    def decoder(self) -> Step:
        """One step for all heat-map networks that are decoded alike."""
        decoding = "" if self.decoding == DecodeHeatmaps.decoding else f"_{self.decoding}"
        blur = "" if self.blur == DecodeHeatmaps.blur else f"_blur{self.blur}"
        search = "" if self.search == DecodeHeatmaps.search else f"_in_{self.search}"
        offset = "" if self.offset == DecodeHeatmaps.offset else f"_offset{self.offset:g}"
        name = f"decode_heatmaps{decoding}{blur}{search}{offset}"
        return DecodeHeatmaps(name, self.decoding, self.blur, self.search, self.offset)


@dataclass(frozen=True)
class Coordinates:
    """One point for each keypoint, in cells of a grid, and its score.

    Attributes:
        grid: (w, h) in cells; the grid spans the crop.
        coarse: whether it also answers the points of a first stage, which no step reads.
    """

    grid: Size
    coarse: bool = False

    def outputs(self, keypoints: int) -> tuple[Tensor, ...]:
        """Return the points, those of the first stage, and the scores."""
        coarse = (COARSE_KEYPOINTS.sized(keypoints, 2),) if self.coarse else ()
        return GRID_KEYPOINTS.sized(keypoints, 2), *coarse, GRID_SCORES.sized(keypoints)

    @property
    def decoder(self) -> Step:
        """One step for all networks of one grid."""
        width, height = self.grid
        return DecodeCoordinates(f"decode_coordinates_{height}x{width}", width, height)
