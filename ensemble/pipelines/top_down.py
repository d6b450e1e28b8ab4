"""Top-down: detect the persons or take the caller's boxes, crop each person, and estimate one pose for each crop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ensemble.geometry import TopDownCrop
from ensemble.keypoints import keypoint_set
from ensemble.networks import MAX_PERSONS, Detector, Head, Network
from ensemble.pipeline import Pipeline
from ensemble.pipelines import PoseModel, decode_image
from ensemble.steps.accept_boxes import AcceptBoxes
from ensemble.steps.crop_persons import CropPersons
from ensemble.steps.select_persons import SelectPersons
from ensemble.tensors import BBOX_SCORES, BBOXES, CROPS, IMAGE, KEYPOINT_SCORES, KEYPOINTS, PERSONS_DETECTED


@dataclass(frozen=True)
class TopDownNetwork:
    """A pose network in served form whose input is a uint8 crop of one person.

    Attributes:
        name: name of its model, and of its pipelines after `pose_`; the published file's stem.
        keypoint_set: name of the keypoint set that it predicts.
        crop: geometry of its crops.
        head: form of its outputs.
        max_batch_size: most crops in one execution, and therefore most persons in one request.
        source: provenance, shown in the model's config.
    """

    name: str
    keypoint_set: str
    crop: TopDownCrop
    head: Head
    max_batch_size: int = MAX_PERSONS
    source: Mapping[str, str] = field(default_factory=dict)

    default: ClassVar[str] = "pose"

    @property
    def network(self) -> Network:
        """The network as a member of pipelines."""
        width, height = self.crop.size
        answers = self.head.outputs(len(keypoint_set(self.keypoint_set)))
        crops = (CROPS.sized(height, width, 3),)
        return Network(self.name, crops, answers, self.max_batch_size, self.source, per_person=True)

    def pipelines(self, models: Sequence[PoseModel], detector: Detector | None) -> tuple[Pipeline, Pipeline]:
        """Return `pose_<network>` and `pose_from_boxes_<network>`.

        Raises:
            ValueError: there is no detector.
        """
        if detector is None:
            raise ValueError(f"{self.name} takes crops of single persons, so it needs a detector; add --detector FILE")
        count, limit = len(keypoint_set(self.keypoint_set)), self.max_batch_size
        keypoints = KEYPOINTS.sized(-1, count, 2), KEYPOINT_SCORES.sized(-1, count)
        outputs = (BBOXES, BBOX_SCORES, *keypoints, PERSONS_DETECTED)
        parameters = {
            "kind": "top_down",
            "keypoint_set": self.keypoint_set,
            "network": self.name,
            "max_persons": str(limit),
        }
        first = next(model for model in models if isinstance(model, TopDownNetwork))
        crop = self.crop
        crop_persons = CropPersons(_crop_name(self, first), *crop.size, limit, crop.padding, crop.warp)
        select_persons = SelectPersons(
            _select_name(self, first),
            *detector.input_size,
            detector.bbox_threshold,
            max_persons=min(MAX_PERSONS, limit),
        )
        estimate = (crop_persons, self.network, self.head.decoder)
        found = (decode_image(detector), detector.network, select_persons, *estimate)
        given = (decode_image(detector), AcceptBoxes(), *estimate)
        return (
            Pipeline(f"pose_{self.name}", (IMAGE,), found, outputs, parameters),
            Pipeline(f"pose_from_boxes_{self.name}", (IMAGE, BBOXES), given, outputs, parameters),
        )


def _select_name(network: TopDownNetwork, first: TopDownNetwork) -> str:
    limit = network.max_batch_size
    return "select_persons" if limit == first.max_batch_size else f"select_persons_max{limit}"


def _crop_name(network: TopDownNetwork, first: TopDownNetwork) -> str:
    """Return `crop_persons` for the first network's crops, otherwise a name that states what differs."""
    crop, limit = network.crop, network.max_batch_size
    if (crop, limit) == (first.crop, first.max_batch_size):
        return "crop_persons"
    size = f"crop_persons_{crop.size[1]}x{crop.size[0]}"
    padding = "" if crop.padding == first.crop.padding else f"_x{crop.padding:g}"
    warp = "" if crop.warp == first.crop.warp else f"_{crop.warp}"
    return size + padding + warp + ("" if limit == MAX_PERSONS else f"_max{limit}")
