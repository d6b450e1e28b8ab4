"""What the pipeline must know of a detector and of a pose network in served form."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ensemble.request_parameters import RequestParameters

MAX_PERSONS = RequestParameters().max_persons


@dataclass(frozen=True)
class Detector:
    """A person detector in served form: uint8 letterboxed picture in, candidate boxes and scores out.

    Attributes:
        input_size: (w, h) of the letterboxed picture.
        candidates: boxes answered for every picture, before thresholds.
        max_batch_size: pictures in one execution.
        source: provenance, shown in the model's config.
    """

    input_size: tuple[int, int]
    candidates: int
    max_batch_size: int = 8
    source: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """A pose network in served form: uint8 crops in, SimCC rows out.

    Attributes:
        name: model name, the published file's stem.
        keypoint_set: which keypoints the rows are.
        input_size: (w, h) of a crop.
        bins: numbers of SimCC bins along x and y.
        max_batch_size: crops in one execution, and so the most persons of one request.
        source: provenance, shown in the model's config.
    """

    name: str
    keypoint_set: str
    input_size: tuple[int, int]
    bins: tuple[int, int]
    max_batch_size: int = MAX_PERSONS
    source: Mapping[str, str] = field(default_factory=dict)
