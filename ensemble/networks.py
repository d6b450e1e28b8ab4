"""What the pipelines must know of a network in served form: what it takes, what it answers, and in which way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ensemble.geometry import Letterbox, Size, TopDownCrop
from ensemble.keypoints import keypoint_set
from ensemble.request_parameters import RequestParameters
from ensemble.steps import Step
from ensemble.steps.decode_coordinates import DecodeCoordinates
from ensemble.steps.decode_heatmaps import DecodeHeatmaps
from ensemble.steps.decode_simcc import DecodeSimcc
from ensemble.tensors import (
    BOXES,
    CROPS,
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
        name: of the model that serves it.
        inputs: tensors in, without the batch axis.
        outputs: tensors out, likewise.
        max_batch_size: items in one execution; 0 for a graph without a batch axis.
        source: provenance, shown in the model's config.
        per_person: it runs once for every person, so most of the work is its own.
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
        candidates: boxes answered for every picture, before thresholds.
        max_batch_size: pictures in one execution.
        source: provenance, shown in the model's config.
    """

    input_size: Size
    candidates: int
    max_batch_size: int = 8
    source: Mapping[str, str] = field(default_factory=dict)

    @property
    def letterbox(self) -> Letterbox:
        """How pictures get into it."""
        return Letterbox(self.input_size)

    @property
    def network(self) -> Network:
        """Its graph."""
        width, height = self.input_size
        answers = BOXES.sized(self.candidates, 4), SCORES.sized(self.candidates)
        return Network(DETECTOR, (LETTERBOXED.sized(height, width, 3),), answers, self.max_batch_size, self.source)


class Head(Protocol):
    """The form in which a top-down network answers, and the step that makes keypoints of it."""

    def outputs(self, keypoints: int) -> tuple[Tensor, ...]:
        """Return what the network answers for one person."""

    @property
    def decoder(self) -> Step:
        """The step from these outputs, `centers` and `scales` to `keypoints` and `keypoint_scores`."""


@dataclass(frozen=True)
class SimCC:
    """One row of bins for each keypoint and axis.

    Attributes:
        bins: numbers of bins along x and y; they span the crop.
    """

    bins: Size

    def outputs(self, keypoints: int) -> tuple[Tensor, ...]:
        """Return the two rows."""
        return SIMCC_X.sized(keypoints, self.bins[0]), SIMCC_Y.sized(keypoints, self.bins[1])

    @property
    def decoder(self) -> Step:
        """One step for all SimCC networks."""
        return DecodeSimcc()


@dataclass(frozen=True)
class Heatmaps:
    """One map for each keypoint.

    Attributes:
        size: (w, h) of a map in cells; the map spans the crop.
        decoding: see `DecodeHeatmaps`.
        blur: likewise.
    """

    size: Size
    decoding: str = DecodeHeatmaps.decoding
    blur: int = DecodeHeatmaps.blur

    def outputs(self, keypoints: int) -> tuple[Tensor, ...]:
        """Return the maps."""
        return (HEATMAPS.sized(keypoints, self.size[1], self.size[0]),)

    @property
    def decoder(self) -> Step:
        """One step for all heat-map networks of one decoding."""
        decoding = "" if self.decoding == DecodeHeatmaps.decoding else f"_{self.decoding}"
        blur = "" if self.blur == DecodeHeatmaps.blur else f"_blur{self.blur}"
        return DecodeHeatmaps(f"decode_heatmaps{decoding}{blur}", self.decoding, self.blur)


@dataclass(frozen=True)
class Coordinates:
    """One point for each keypoint, in cells of a grid, and its score.

    Attributes:
        grid: (w, h) in cells; the grid spans the crop.
    """

    grid: Size

    def outputs(self, keypoints: int) -> tuple[Tensor, ...]:
        """Return the points and their scores."""
        return GRID_KEYPOINTS.sized(keypoints, 2), GRID_SCORES.sized(keypoints)

    @property
    def decoder(self) -> Step:
        """One step for all networks of one grid."""
        width, height = self.grid
        return DecodeCoordinates(f"decode_coordinates_{height}x{width}", width, height)


@dataclass(frozen=True)
class TopDownNetwork:
    """A pose network in served form that looks at one person at a time: uint8 crops in.

    Attributes:
        name: of its model and, after `pose_`, of its pipelines: the published file's stem.
        keypoint_set: name of the keypoints that it answers.
        crop: how persons get into it.
        head: what it answers.
        max_batch_size: crops in one execution, and so the most persons of one request.
        source: provenance, shown in the model's config.
    """

    name: str
    keypoint_set: str
    crop: TopDownCrop
    head: Head
    max_batch_size: int = MAX_PERSONS
    source: Mapping[str, str] = field(default_factory=dict)

    @property
    def network(self) -> Network:
        """Its graph."""
        width, height = self.crop.size
        answers = self.head.outputs(len(keypoint_set(self.keypoint_set)))
        crops = (CROPS.sized(height, width, 3),)
        return Network(self.name, crops, answers, self.max_batch_size, self.source, per_person=True)


class PoseModel(Protocol):
    """What all pose networks have in common, whatever the pipeline that they need."""

    @property
    def name(self) -> str:
        """Of its pipelines, after `pose_`."""

    @property
    def keypoint_set(self) -> str:
        """Name of the keypoints that it answers."""

    @property
    def max_batch_size(self) -> int:
        """The most persons of one request."""
