"""Models that several pipelines of a repository share."""

from dataclasses import dataclass, replace

import pytest

from ensemble.geometry import TopDownCrop
from ensemble.networks import Detector, SimCC
from ensemble.pipelines import pipelines
from ensemble.pipelines.top_down import TopDownNetwork
from ensemble.steps import Step
from ensemble.tensors import KEYPOINTS, Tensor
from ensemble.triton.render import render

NETWORK = TopDownNetwork("body", "coco", TopDownCrop((192, 256)), SimCC((384, 512)))
MORE = Tensor("more", "FP32", (-1, 17))


@dataclass(frozen=True)
class Continue(Step):
    """Follows a step that ends other pipelines."""

    name: str = "continue"
    inputs = (KEYPOINTS,)
    outputs = (MORE,)

    def run(self, request):
        raise NotImplementedError


@pytest.fixture
def rendered():
    flat = pipelines((NETWORK,), Detector((416, 416), 3549))
    longer = [
        replace(each, name=f"longer_{each.name}", members=(*each.members, Continue()), outputs=(*each.outputs, MORE))
        for each in flat
    ]
    return {model.name: model for model in render([*flat, *longer])}


def models_of(ensemble):
    return {step.model for step in ensemble.steps}


def test_each_ticket_action_of_a_step_has_a_model_of_its_own(rendered):
    tickets = {name: rendered[name].parameters["ticket"] for name in ("decode_simcc", "decode_simcc_pause", "continue")}
    assert tickets == {"decode_simcc": "leave", "decode_simcc_pause": "pause", "continue": "leave"}
    for name in ("pose", "pose_from_boxes"):
        assert models_of(rendered[f"longer_{name}"]) - models_of(rendered[name]) == {"decode_simcc_pause", "continue"}
    assert rendered["decode_simcc"].parameters["step"] == rendered["decode_simcc_pause"].parameters["step"]


def test_a_tensor_for_callers_and_a_later_step_is_copied(rendered):
    made, taken = (
        {step.model: step for step in rendered["longer_pose"].steps}[name]
        for name in ("decode_simcc_pause", "continue")
    )
    assert made.outputs["keypoints_inner"] == "keypoints_inner"
    assert taken.inputs["keypoints"] == "keypoints_inner"
    flat = {step.model: step for step in rendered["pose"].steps}["decode_simcc"]
    assert set(flat.outputs) == {"keypoints", "keypoint_scores"}
