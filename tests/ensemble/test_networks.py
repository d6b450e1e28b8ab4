"""The heads of top-down networks: their step takes all that they answer, and several heads go together."""

from dataclasses import replace

import pytest

from ensemble.geometry import TopDownCrop
from ensemble.networks import Coordinates, Detector, Heatmaps, SimCC
from ensemble.pipelines import pipelines
from ensemble.pipelines.top_down import TopDownNetwork
from ensemble.triton.model import Model
from ensemble.triton.profiles import PROFILES
from ensemble.triton.render import render

DETECTOR = Detector((416, 416), 3549)
CROP = TopDownCrop((96, 128))
HEADS = {
    "simcc": SimCC((192, 256)),
    "quarter": Heatmaps((24, 32)),
    "dark": Heatmaps((24, 32), "dark"),
    "udp": Heatmaps((24, 32), "udp", 17),
    "points": Coordinates((24, 32)),
    "two-stages": Coordinates((24, 32), coarse=True),
}
NETWORKS = [TopDownNetwork(name, "coco", CROP, head) for name, head in HEADS.items()]


@pytest.mark.parametrize("network", NETWORKS, ids=list(HEADS))
def test_the_decoder_takes_all_that_the_network_answers(network):
    for pipeline in pipelines([network], DETECTOR):  # which checks types and dims
        *_, member, decoder = pipeline.members
        answers, taken = ({tensor.name for tensor in each} for each in (member.outputs, decoder.inputs))
        assert taken - answers == {"centers", "scales"}
        assert answers - taken == ({"coarse_keypoints"} if network.name == "two-stages" else set())


def test_networks_of_several_heads_go_into_one_repository():
    models = [model for model in render(pipelines(NETWORKS, DETECTOR)) if isinstance(model, Model)]
    names = {model.name for model in models}
    assert {name for name in names if name.startswith("decode_")} == {
        *("decode_image", "decode_simcc", "decode_heatmaps", "decode_heatmaps_dark", "decode_heatmaps_udp_blur17"),
        "decode_coordinates_32x24",
    }
    assert set(HEADS) < names
    outputs = {model.name: [(tensor.name, tensor.dims) for tensor in model.outputs] for model in models}
    assert outputs["quarter"] == [("heatmaps", (17, 32, 24))]
    assert [name for name, _ in outputs["two-stages"]] == ["grid_keypoints", "coarse_keypoints", "grid_scores"]
    assert outputs["points"] == [("grid_keypoints", (17, 2)), ("grid_scores", (17,))]


@pytest.mark.parametrize("name", HEADS)
def test_coordinates_are_computed_in_float32_in_every_profile(name):
    (model,) = (m for m in render(pipelines(NETWORKS, DETECTOR)) if m.name == name)
    precisions = {
        accelerator.parameters.get("precision", accelerator.parameters.get("precision_mode"))
        for profile in ("cpu-bf16", "cpu-int8", "cpu-int8-latency", "tensorrt", "tensorrt-bf16")
        for accelerator in (PROFILES[profile](model).cpu_accelerator, PROFILES[profile](model).gpu_accelerator)
        if accelerator
    }
    assert precisions == ({"FP32"} if isinstance(HEADS[name], Coordinates) else {"BF16", "FP16"})


@pytest.mark.parametrize(("precision", "accelerators"), [("int8", {"openvino": "FP32"}), ("", {})])
def test_an_eight_bit_detector_runs_on_openvino_in_cpu_int8(precision, accelerators):
    detector = replace(DETECTOR, source={"precision": precision} if precision else {})
    (model,) = (m for m in render(pipelines(NETWORKS, detector)) if m.name == "detector")
    for profile in ("cpu-int8", "cpu-int8-latency"):
        accelerator = PROFILES[profile](model).cpu_accelerator
        assert ({accelerator.name: accelerator.parameters["precision"]} if accelerator else {}) == accelerators
    assert PROFILES["cpu-bf16"](model).cpu_accelerator is None
