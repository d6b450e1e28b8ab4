"""Example family: maps three inputs for each person of a 2-D network to keypoints in space."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from export.families.spot_lifter.steps import (
    KEYPOINTS_3D,
    KEYPOINTS_CROP,
    KEYPOINTS_IMAGE,
    LIFT_CROPS,
    LIFTED,
    LiftInputs,
    LiftOutputs,
)
from onnx import helper

from ensemble.geometry import Size
from ensemble.networks import Network
from ensemble.pipelines.top_down import TopDownNetwork
from export import graph_edit, metadata, network_file
from export.families import Family, Served

NAMES = ("crop", "keypoints_image", "keypoints_crop")


@dataclass(frozen=True)
class Lifter:
    name: str
    crop_size: Size
    max_batch_size: int = 32
    source: Mapping[str, str] = field(default_factory=dict)

    default: ClassVar[str] = "pose_3d"

    def pipelines(self, models, detector):
        below = next((model for model in models if isinstance(model, TopDownNetwork)), None)
        if below is None:
            raise ValueError(f"{self.name} lifts the keypoints of a 2-D network; add one (--pose FILE)")
        return tuple(map(self._lifted, below.pipelines(models, detector)))

    def _lifted(self, flat):
        width, height = self.crop_size
        inputs = LIFT_CROPS.sized(height, width, 3), KEYPOINTS_IMAGE, KEYPOINTS_CROP
        network = Network(self.name, inputs, (LIFTED,), self.max_batch_size, self.source, per_person=True)
        below = flat.parameters["network"]
        return replace(
            flat,
            name=flat.name.removesuffix(below) + self.name,
            members=(*flat.members, LiftInputs("lift_inputs", width, height), network, LiftOutputs()),
            outputs=(*flat.outputs, KEYPOINTS_3D),
            parameters={
                **flat.parameters,
                **{"kind": "lifted", "network": self.name, "lifts_from": below, "keypoint_set_3d": "human36m"},
            },
        )


def is_lifter(model):
    return {value.name for value in model.graph.input} == set(NAMES)


def serve(path, model, options):
    size = network_file.fix_size(path, model, options.input_size, "--input-size")
    merges = graph_edit.batches_correctly(model)
    nodes = graph_edit.uint8_input(model, LIFT_CROPS.name, "bgr", size)
    nodes.append(helper.make_node("Identity", ["bgr"], ["crop"]))
    graph_edit.insert_first(model, nodes)
    model.graph.node.append(helper.make_node("Identity", ["keypoints_3d"], [LIFTED.name]))
    graph_edit.set_outputs(model, {LIFTED.name: LIFTED.dims})
    limit = 32 if merges and graph_edit.batches_correctly(model) else 1
    return Served(Lifter(path.stem, size, limit, metadata.source(path)), {path.stem: model})


FAMILY = Family("spot_lifter", serve, f"{', '.join(NAMES)} -> keypoints_3d [batch, 17, 3]", is_lifter)
