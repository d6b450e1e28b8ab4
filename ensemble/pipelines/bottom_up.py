"""Bottom-up: one network finds all people of a picture with their keypoints, without a detector and crops."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ensemble.geometry import PaddedFit
from ensemble.keypoints import keypoint_set
from ensemble.networks import Detector, Network
from ensemble.pipeline import Pipeline
from ensemble.pipelines import PoseModel, decode_image
from ensemble.steps.fit_picture import FitPicture
from ensemble.steps.select_poses import MOST_POSES, SelectPoses
from ensemble.tensors import (
    BBOX_SCORES,
    BBOXES,
    CANDIDATE_KEYPOINT_SCORES,
    CANDIDATE_KEYPOINTS,
    CANDIDATE_SCORES,
    CENTER_SCORES,
    FITTED,
    IMAGE,
    KEYPOINT_SCORES,
    KEYPOINTS,
    PERSONS_DETECTED,
)


@dataclass(frozen=True)
class BottomUpNetwork:
    """A pose network in served form whose input is a uint8 picture of any size that the fit makes.

    Attributes:
        name: name of its model, and of its pipeline after `pose_`; the published file's stem.
        keypoint_set: name of the keypoint set that it predicts.
        fit: geometry of its input.
        candidates: people that it answers for every picture, before thresholds.
        source: provenance, shown in the model's config.
    """

    name: str
    keypoint_set: str
    fit: PaddedFit
    candidates: int
    source: Mapping[str, str] = field(default_factory=dict)

    default: ClassVar[str] = "pose"

    @property
    def network(self) -> Network:
        """The network as a member of pipelines. It has no batch axis, because pictures differ in size."""
        people, keypoints = self.candidates, len(keypoint_set(self.keypoint_set))
        answers = (
            CANDIDATE_KEYPOINTS.sized(people, keypoints, 2),
            CANDIDATE_KEYPOINT_SCORES.sized(people, keypoints),
            CANDIDATE_SCORES.sized(people),
            CENTER_SCORES.sized(people),
        )
        return Network(self.name, (FITTED,), answers, 0, self.source)

    def pipelines(self, models: Sequence[PoseModel], detector: Detector | None) -> tuple[Pipeline]:
        """Return `pose_<network>`. There is no pipeline for given boxes."""
        short_side, count = self.fit.short_side, len(keypoint_set(self.keypoint_set))
        members = (
            decode_image(detector),
            FitPicture(f"fit_picture_{short_side}", short_side),
            self.network,
            SelectPoses(f"select_poses_{short_side}", short_side),
        )
        keypoints = KEYPOINTS.sized(-1, count, 2), KEYPOINT_SCORES.sized(-1, count)
        outputs = (BBOXES, BBOX_SCORES, *keypoints, PERSONS_DETECTED)
        parameters = {
            "kind": "bottom_up",
            "keypoint_set": self.keypoint_set,
            "network": self.name,
            "max_persons": str(MOST_POSES),
        }
        return (Pipeline(f"pose_{self.name}", (IMAGE,), members, outputs, parameters),)
