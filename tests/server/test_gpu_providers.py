"""The stand-in backend's GPU settings, tested without a GPU."""

import importlib.util

import pytest

from ensemble.triton.model import DynamicBatching, Model, Tensor
from ensemble.triton.profiles import PROFILES
from server.installation import _STAND_INS

NETWORK = Model(
    "net", "onnxruntime", (Tensor("crops", "UINT8", (256, 192, 3)),), (), max_batch_size=32, batching=DynamicBatching()
)


@pytest.fixture(scope="module")
def gpu_providers():
    spec = importlib.util.spec_from_file_location("gpu_providers", _STAND_INS / "onnxruntime" / "gpu_providers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.gpu_providers


def test_the_profile_gpu_becomes_cuda_options(gpu_providers):
    providers = gpu_providers("1", PROFILES["gpu"](NETWORK).parameters)
    assert providers == [
        (
            "CUDAExecutionProvider",
            {
                "device_id": "1",
                "cudnn_conv_algo_search": "HEURISTIC",
                "arena_extend_strategy": "kSameAsRequested",
            },
        ),
        "CPUExecutionProvider",
    ]


def test_the_profile_tensorrt_becomes_tensorrt_options(gpu_providers):
    model = PROFILES["tensorrt"](NETWORK)
    (name, options), (second, _), last = gpu_providers("0", model.parameters, model.gpu_accelerator.parameters)
    assert (name, second, last) == ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
    assert options["trt_fp16_enable"] == "1"
    assert options["trt_max_workspace_size"] == str(2**31)
    assert options["trt_profile_max_shapes"] == "crops:32x256x192x3"
    assert not options.keys() & {"precision_mode", "max_workspace_size_bytes"}


def test_bfloat16_replaces_float16(gpu_providers):
    half, brain = (PROFILES[name](NETWORK).gpu_accelerator.parameters for name in ("tensorrt", "tensorrt-bf16"))
    assert brain == half | {"precision_mode": "BF16"}
    (_, options), *_ = gpu_providers("0", {}, brain)
    assert (options["trt_fp16_enable"], options["trt_bf16_enable"]) == ("0", "1")
    assert "trt_bf16_enable" not in gpu_providers("0", {}, half)[0][1]


def test_an_unknown_precision_is_refused(gpu_providers):
    with pytest.raises(ValueError, match="precision_mode is 'INT8'"):
        gpu_providers("0", {}, {"precision_mode": "INT8"})
