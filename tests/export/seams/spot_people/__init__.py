"""Example family: maps whole pictures of any size to people, without a detector and crops."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from export.families.spot_people.steps import CANDIDATE_SCORES, CANDIDATES, FITTED, FitPicture, SelectPeople
from onnx import TensorProto, compose, helper

from ensemble.networks import Network
from ensemble.pipeline import Pipeline
from ensemble.pipelines import decode_image
from ensemble.tensors import BBOX_SCORES, BBOXES, IMAGE, KEYPOINT_SCORES, KEYPOINTS, PERSONS_DETECTED
from export import metadata
from export.families import Family, Served


@dataclass(frozen=True)
class BottomUpNetwork:
    name: str
    source: Mapping[str, str] = field(default_factory=dict)

    default: ClassVar[str] = "pose"

    def pipelines(self, models, detector):
        network = Network(self.name, (FITTED,), (CANDIDATES, CANDIDATE_SCORES), 0, self.source)
        members = (decode_image(detector), FitPicture(), network, SelectPeople())
        outputs = (BBOXES, BBOX_SCORES, KEYPOINTS, KEYPOINT_SCORES, PERSONS_DETECTED)
        parameters = {"kind": "bottom_up", "keypoint_set": "coco", "network": self.name, "max_persons": "32"}
        return (Pipeline(f"pose_{self.name}", (IMAGE,), members, outputs, parameters),)


def is_people(model):
    return [value.name for value in model.graph.output] == ["people", "people_scores"]


def serve(path, model, options):
    """Replace the input float [1, 3, H, W] by uint8 `fitted` [H, W, 3], with both sides variable."""
    model = compose.add_prefix(model, "network/")
    graph = model.graph
    inner = graph.input[0].name
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(FITTED.name, TensorProto.UINT8, ["height", "width", 3]))
    graph.initializer.append(helper.make_tensor("first_axis", TensorProto.INT64, [1], [0]))
    nodes = [
        helper.make_node("Transpose", [FITTED.name], ["planes"], perm=[2, 0, 1]),
        helper.make_node("Cast", ["planes"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["numbers", "first_axis"], [inner]),
        *graph.node,
        helper.make_node("Identity", ["network/people"], [CANDIDATES.name]),
        helper.make_node("Identity", ["network/people_scores"], [CANDIDATE_SCORES.name]),
    ]
    del graph.node[:], graph.output[:]
    graph.node.extend(nodes)
    for tensor in (CANDIDATES, CANDIDATE_SCORES):
        graph.output.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, list(tensor.dims)))
    return Served(BottomUpNetwork(path.stem, metadata.source(path)), {path.stem: model})


FAMILY = Family("spot_people", serve, "a picture [1, 3, H, W] -> people, people_scores", is_people)
