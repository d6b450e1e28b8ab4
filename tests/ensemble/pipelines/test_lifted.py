from dataclasses import replace

import pytest

from ensemble.geometry import PaddedFit, TopDownCrop
from ensemble.networks import Detector, SimCC
from ensemble.pipelines import pipelines
from ensemble.pipelines.bottom_up import BottomUpNetwork
from ensemble.pipelines.lifted import LiftingNetwork
from ensemble.pipelines.top_down import TopDownNetwork
from ensemble.triton.model import Ensemble
from ensemble.triton.profiles import PROFILES
from ensemble.triton.render import render

DETECTOR = Detector((416, 416), 3549)
BODY = TopDownNetwork("body", "coco", TopDownCrop((192, 256)), SimCC((384, 512)))
WHOLE = TopDownNetwork("whole", "coco_wholebody", TopDownCrop((288, 384)), SimCC((576, 768)))
CROWD = TopDownNetwork("crowd", "crowdpose", TopDownCrop((192, 256)), SimCC((384, 512)))
LIFTER = LiftingNetwork("lift", "human36m", (192, 256))


def found(*models):
    return {pipeline.name: pipeline for pipeline in pipelines(models, DETECTOR)}


def test_a_lifter_extends_the_pipelines_of_a_2d_network():
    named = found(BODY, LIFTER)
    assert list(named)[:4] == ["pose", "pose_from_boxes", "pose_3d", "pose_3d_from_boxes"]
    assert {"pose_lift", "pose_from_boxes_lift"} < named.keys()
    for flat, lifted in (("pose", "pose_3d"), ("pose_from_boxes", "pose_3d_from_boxes"), ("pose", "pose_lift")):
        below, above = named[flat], named[lifted]
        assert above.members[: len(below.members)] == below.members
        assert [member.name for member in above.members[len(below.members) :]] == [
            "lift_inputs",
            "lift",
            "lift_outputs",
        ]
        assert above.inputs == below.inputs
        assert above.outputs[:-1] == below.outputs
        assert (above.outputs[-1].name, above.outputs[-1].dims) == ("keypoints_3d", (-1, 17, 3))
        assert above.parameters == {
            **{"kind": "lifted", "keypoint_set": "coco", "network": "lift", "max_persons": "32"},
            **{"keypoint_set_3d": "human36m", "lifts_from": "body", "networks": "body,lift"},
        }


def test_the_lifter_runs_only_for_its_own_output():
    pipeline = found(BODY, LIFTER)["pose_3d"]
    own = {"lift_inputs", "lift", "lift_outputs"}
    assert own < pipeline.needed(["keypoints_3d"]).keys()
    others = [tensor.name for tensor in pipeline.outputs if tensor.name != "keypoints_3d"]
    assert not own & pipeline.needed(others).keys()


def test_the_2d_network_is_the_first_that_fits_or_the_chosen_one():
    assert found(CROWD, WHOLE, BODY, LIFTER)["pose_3d"].parameters["lifts_from"] == "whole"
    chosen = found(CROWD, WHOLE, BODY, replace(LIFTER, lift_from="body"))["pose_lift"]
    assert chosen.parameters["lifts_from"] == "body"
    assert [member.name for member in chosen.members][-4:-3] == ["decode_simcc"]


@pytest.mark.parametrize(
    ("models", "lift_from", "expected"),
    [
        ((CROWD,), "", "and there is none; the repository has no such network; add one with --pose FILE"),
        ((BODY, CROWD), "crowd", "and crowd is none; the repository has body"),
        ((BODY,), "lift", "and lift is none; the repository has body"),
    ],
)
def test_without_a_fitting_network_the_remedy_is_named(models, lift_from, expected):
    with pytest.raises(ValueError, match=f"lift lifts the keypoints of a top-down network of COCO's 17 .*, {expected}"):
        found(*models, replace(LIFTER, lift_from=lift_from))


def test_bottom_up_networks_are_passed_over():
    people = BottomUpNetwork("people", "coco", PaddedFit(512), 30)
    assert found(people, BODY, LIFTER)["pose_3d"].parameters["lifts_from"] == "body"
    with pytest.raises(ValueError, match="and people is none; the repository has body"):
        found(people, BODY, replace(LIFTER, lift_from="people"))


def test_the_smaller_limit_counts():
    single = replace(LIFTER, max_batch_size=1)
    assert found(BODY, single)["pose_3d"].parameters["max_persons"] == "1"
    assert found(replace(BODY, max_batch_size=1), LIFTER)["pose_3d"].parameters["max_persons"] == "1"
    assert found(BODY, single)["pose"].parameters["max_persons"] == "32"


def test_two_lifters_share_a_repository():
    other = replace(LIFTER, name="other", crop_size=(96, 128), lift_from="whole")
    models = {model.name: model for model in render(pipelines((BODY, WHOLE, LIFTER, other), DETECTOR))}
    assert isinstance(models["pose_3d"], Ensemble)
    assert models["pose_3d"].parameters["network"] == "lift"
    inputs = {name: models[name].parameters for name in models if name.startswith("lift_inputs")}
    assert {name: (facts["input_width"], facts["keypoint_set"]) for name, facts in inputs.items()} == {
        "lift_inputs": ("192", "coco"),
        "lift_inputs_other": ("96", "coco_wholebody"),
    }


def test_a_lifter_stays_in_float32_on_every_accelerator():
    models = {model.name: model for model in render(pipelines((BODY, LIFTER), DETECTOR))}
    assert PROFILES["cpu-bf16"](models["lift"]).cpu_accelerator.parameters["precision"] == "FP32"
    assert PROFILES["tensorrt"](models["lift"]).gpu_accelerator.parameters["precision_mode"] == "FP32"
    assert PROFILES["cpu-bf16"](models["body"]).cpu_accelerator.parameters["precision"] == "BF16"
