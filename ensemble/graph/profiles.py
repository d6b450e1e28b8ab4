"""Machine profiles: Triton's custom configurations, `<model>/configs/<profile>.pbtxt`, one function each.

Chosen at start with `--model-config-name=<profile>`; a model without a file of that name keeps its `config.pbtxt`.
"""

from collections.abc import Callable
from dataclasses import replace

from ensemble.graph.model import Accelerator, Instances, Model
from ensemble.graph.steps import DETECTOR

Profile = Callable[[Model], Model]


def cpu(model: Model) -> Model:
    """Throughput on few cores: two single-threaded sessions waste less than one session of two threads."""
    if model.backend == "onnxruntime":
        parameters = {**model.parameters, "intra_op_thread_count": "1", "inter_op_thread_count": "1"}
        return replace(model, instances=Instances("KIND_CPU", 2), parameters=parameters)
    if model.adapter in ("decode_image", "crop_persons"):  # the steps that touch pixels
        return replace(model, instances=Instances("KIND_CPU", 2))
    return model


def cpu_openvino(model: Model) -> Model:
    """As `cpu`, the pose networks on OpenVINO in float32; the detector is as fast on ONNX Runtime."""
    return _on_openvino(model, "FP32")


def cpu_bf16(model: Model) -> Model:
    """As `cpu-openvino`, in bfloat16, for processors that multiply it natively (AMX, AVX512-BF16)."""
    return _on_openvino(model, "BF16")


def _on_openvino(model: Model, precision: str) -> Model:
    model = cpu(model)
    if model.backend != "onnxruntime" or model.name == DETECTOR:
        return model
    return replace(model, cpu_accelerator=Accelerator("openvino", {"precision": precision}))


def gpu(model: Model) -> Model:
    """One session a GPU; the CPU keeps decoding and cropping, so these steps get more processes."""
    if model.backend == "onnxruntime":
        parameters = {
            **model.parameters,
            "cudnn_conv_algo_search": "1",  # HEURISTIC: the default searches anew for every number of crops
            "arena_extend_strategy": "1",  # as requested: doubling wastes memory when batch sizes vary
            "intra_op_thread_count": "1",
        }
        return replace(model, instances=Instances("KIND_GPU", 1), parameters=parameters)
    if model.adapter in ("decode_image", "crop_persons"):
        return replace(model, instances=Instances("KIND_CPU", 4))
    return model


PROFILES: dict[str, Profile] = {"cpu": cpu, "cpu-openvino": cpu_openvino, "cpu-bf16": cpu_bf16, "gpu": gpu}
