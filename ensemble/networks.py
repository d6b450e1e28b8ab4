"""What the pipelines must know of a network in served form: what it takes, what it answers, and in which way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ensemble.geometry import Letterbox, Size
from ensemble.request_parameters import RequestParameters
from ensemble.steps import Step
from ensemble.steps.decode_simcc import DecodeSimcc
from ensemble.tensors import BOXES, LETTERBOXED, SCORES, SIMCC_X, SIMCC_Y, Tensor

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
