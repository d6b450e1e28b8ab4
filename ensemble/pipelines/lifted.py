"""Lifted: the pipelines of a 2-D network, then joints in space from its keypoints and a second crop of each person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from ensemble.geometry import Size
from ensemble.keypoints import keypoint_set
from ensemble.keypoints.human36m import has_human36m
from ensemble.networks import MAX_PERSONS, Detector, Network
from ensemble.pipeline import Pipeline
from ensemble.pipelines import PoseModel
from ensemble.steps.lift_inputs import LiftInputs
from ensemble.steps.lift_outputs import LiftOutputs
from ensemble.tensors import KEYPOINTS_3D, KEYPOINTS_CROP, KEYPOINTS_IMAGE, LIFT_CROPS, LIFTED


@dataclass(frozen=True)
class LiftingNetwork:
    """A lifter in served form: a uint8 crop of one person and the person's joints in, joints in space out.

    Attributes:
        name: name of its model, and of its pipelines after `pose_`; the file's stem.
        keypoint_set: name of the set of its joints.
        crop_size: (w, h) of its crops.
        lift_from: name of the 2-D network below it; "" for the first one that fits.
        max_batch_size: most crops in one execution, and therefore most persons in one request.
        source: provenance, shown in the model's config.
    """

    name: str
    keypoint_set: str
    crop_size: Size
    lift_from: str = ""
    max_batch_size: int = MAX_PERSONS
    source: Mapping[str, str] = field(default_factory=dict)

    default: ClassVar[str] = "pose_3d"

    @property
    def network(self) -> Network:
        """The network as a member of pipelines."""
        (width, height), joints = self.crop_size, len(keypoint_set(self.keypoint_set))
        keypoints = KEYPOINTS_IMAGE.sized(joints, 2), KEYPOINTS_CROP.sized(joints, 2)
        crops, lifted = LIFT_CROPS.sized(height, width, 3), LIFTED.sized(joints, 3)
        return Network(self.name, (crops, *keypoints), (lifted,), self.max_batch_size, self.source, per_person=True)

    def pipelines(self, models: Sequence[PoseModel], detector: Detector | None) -> tuple[Pipeline, ...]:
        """Return the pipelines of the 2-D network below, extended, under this network's name.

        Raises:
            ValueError: no 2-D network fits.
        """
        return tuple(self._lifted(flat, models) for flat in self._below(models, detector))

    def _below(self, models: Sequence[PoseModel], detector: Detector | None) -> tuple[Pipeline, ...]:
        flat = {
            model.name: model.pipelines(models, detector) for model in models if not isinstance(model, LiftingNetwork)
        }
        fitting = [name for name, found in flat.items() if _fits(found[0].parameters)]
        chosen = self.lift_from or next(iter(fitting), "")
        if chosen not in fitting:
            asked = f"{chosen} is none" if chosen else "there is none"
            raise ValueError(
                f"{self.name} lifts the keypoints of a top-down network of COCO's 17 or COCO-WholeBody's 133 points, "
                f"and {asked}; the repository has {', '.join(fitting) or 'no such network; add one with --pose FILE'}"
            )
        return flat[chosen]

    def _lifted(self, flat: Pipeline, models: Sequence[PoseModel]) -> Pipeline:
        below, limit = flat.parameters["network"], min(int(flat.parameters["max_persons"]), self.max_batch_size)
        first = next(model for model in models if isinstance(model, LiftingNetwork))
        own = (*self.crop_size, self.max_batch_size, flat.parameters["keypoint_set"])
        name = "lift_inputs" if first is self else f"lift_inputs_{self.name}"
        joints = len(keypoint_set(self.keypoint_set))
        stated = {"kind": "lifted", "network": self.name, "max_persons": str(limit)}
        added = {"keypoint_set_3d": self.keypoint_set, "lifts_from": below}
        return replace(
            flat,
            name=flat.name.removesuffix(below) + self.name,
            members=(*flat.members, LiftInputs(name, *own), self.network, LiftOutputs()),
            outputs=(*flat.outputs, KEYPOINTS_3D.sized(-1, joints, 3)),
            parameters={**flat.parameters, **stated, **added},
        )


def _fits(parameters: Mapping[str, str]) -> bool:
    """Return whether a lifter can stand on a pipeline. One without a twin for given boxes has half of the contract."""
    return parameters["kind"] == "top_down" and has_human36m(parameters["keypoint_set"])
