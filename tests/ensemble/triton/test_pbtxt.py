from dataclasses import replace

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from ensemble.tensors import Tensor
from ensemble.triton.model import Accelerator, DynamicBatching, Ensemble, Instances, Model, Step
from ensemble.triton.pbtxt import config_text
from ensemble.triton.profiles import PROFILES

NETWORK = Model(
    name="net",
    backend="onnxruntime",
    inputs=(Tensor("crops", "UINT8", (256, 192, 3)),),
    outputs=(Tensor("simcc_x", "FP32", (17, 384)),),
    max_batch_size=32,
    trait="person_network",
    parameters={"keypoint_set": "coco", "a": "1"},
    instances=Instances("KIND_CPU", 2),
    batching=DynamicBatching(max_queue_delay_us=500),
    cpu_accelerator=Accelerator("openvino", {"num_of_threads": "1"}),
)
STEP = Model("step", "python", (), (), trait="pixels")
GRAPH = Ensemble("pose", NETWORK.inputs, NETWORK.outputs, (Step("net", {"crops": "crops"}, {"simcc_x": "simcc_x"}),))


def parsed(model):
    return text_format.Parse(config_text(model), pb.ModelConfig())


def test_a_networks_config_parses_back_unchanged():
    config = parsed(NETWORK)
    assert (config.name, config.backend, config.max_batch_size) == ("net", "onnxruntime", 32)
    assert (config.input[0].name, config.input[0].data_type, list(config.input[0].dims)) == (
        "crops",
        pb.TYPE_UINT8,
        [256, 192, 3],
    )
    assert {key: value.string_value for key, value in config.parameters.items()} == NETWORK.parameters
    assert (config.instance_group[0].kind, config.instance_group[0].count) == (pb.ModelInstanceGroup.KIND_CPU, 2)
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    assert not config.dynamic_batching.HasField("default_queue_policy"), "with a limit, Triton does not prefetch"
    accelerator = config.optimization.execution_accelerators.cpu_execution_accelerator[0]
    assert (accelerator.name, dict(accelerator.parameters)) == ("openvino", {"num_of_threads": "1"})


def test_an_ensemble_keeps_its_steps():
    config = parsed(GRAPH)
    assert config.platform == "ensemble"
    assert config.WhichOneof("scheduling_choice") == "ensemble_scheduling"
    assert [(step.model_name, step.model_version) for step in config.ensemble_scheduling.step] == [("net", -1)]


@pytest.mark.parametrize("model", [STEP, GRAPH])
def test_a_batch_size_of_zero_is_stated(model):
    assert "max_batch_size: 0\n" in config_text(model)


def test_the_text_is_deterministic():
    assert config_text(NETWORK) == config_text(NETWORK)


def test_preferred_sizes_and_warm_up_read_back():
    batching = DynamicBatching(preferred_sizes=(8, 32))
    config = parsed(replace(NETWORK, batching=batching, warmup=(1, 32)))
    assert list(config.dynamic_batching.preferred_batch_size) == [8, 32]
    assert [warmup.batch_size for warmup in config.model_warmup] == [1, 32]
    for warmup in config.model_warmup:
        sample = warmup.inputs["crops"]
        assert (list(sample.dims), sample.data_type, sample.zero_data) == ([256, 192, 3], pb.TYPE_UINT8, True)


def test_engine_profiles_cover_exactly_the_possible_batches():
    config = parsed(PROFILES["tensorrt"](NETWORK))
    accelerator = config.optimization.execution_accelerators.gpu_execution_accelerator[0]
    assert accelerator.name == "tensorrt"
    shapes = {key: value for key, value in accelerator.parameters.items() if key.startswith("trt_profile")}
    assert shapes == {
        "trt_profile_min_shapes": "crops:1x256x192x3",
        "trt_profile_opt_shapes": "crops:8x256x192x3",
        "trt_profile_max_shapes": f"crops:{config.max_batch_size}x256x192x3",
    }
    assert {warmup.batch_size for warmup in config.model_warmup} == {1, 8, config.max_batch_size}
    assert set(config.dynamic_batching.preferred_batch_size) <= {warmup.batch_size for warmup in config.model_warmup}


def test_cpu_profiles_prefer_small_batches():
    assert list(parsed(PROFILES["cpu"](NETWORK)).dynamic_batching.preferred_batch_size) == [4]
    small = replace(NETWORK, max_batch_size=4)
    assert not parsed(PROFILES["cpu"](small)).dynamic_batching.preferred_batch_size


@pytest.mark.parametrize(("largest", "warm"), [(32, 4), (4, 4), (1, 1)])
def test_cpu_profiles_warm_up_their_usual_batch(largest, warm):
    config = parsed(PROFILES["cpu"](replace(NETWORK, max_batch_size=largest)))
    assert [warmup.batch_size for warmup in config.model_warmup] == [warm]


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_keep_the_queue_policy(profile):
    config, changed = parsed(NETWORK), parsed(PROFILES[profile](NETWORK))
    assert changed.dynamic_batching.default_queue_policy == config.dynamic_batching.default_queue_policy


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_keep_the_interface_of_a_model(profile):
    config, changed = parsed(NETWORK), parsed(PROFILES[profile](NETWORK))
    assert changed != config
    assert changed.parameters["keypoint_set"] == config.parameters["keypoint_set"]
    assert (list(changed.input), list(changed.output)) == (list(config.input), list(config.output))
    assert changed.max_batch_size == config.max_batch_size


@pytest.mark.parametrize("profile", PROFILES)
def test_networks_of_variable_size_get_no_warm_up_and_no_engine(profile):
    network = replace(NETWORK, inputs=(Tensor("picture", "UINT8", (-1, -1, 3)),), max_batch_size=0, batching=None)
    config = parsed(PROFILES[profile](network))
    assert not config.model_warmup
    assert not config.optimization.execution_accelerators.gpu_execution_accelerator
    kind = pb.ModelInstanceGroup.Kind.Name(config.instance_group[0].kind)
    assert kind == ("KIND_GPU" if profile in ("gpu", "tensorrt", "tensorrt-bf16") else "KIND_CPU")
