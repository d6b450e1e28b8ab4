"""The sizes in the manifests agree with the arithmetic in their comments."""

import math
import re
from pathlib import Path

from ensemble.geometry import TopDownCrop
from ensemble.networks import MAX_PERSONS, Detector, SimCC
from ensemble.pipelines import pipelines
from ensemble.pipelines.top_down import TopDownNetwork
from ensemble.steps.decode_image import PictureLimits
from ensemble.tensors import IMAGE, IMAGE_BGR
from ensemble.triton.model import Model
from ensemble.triton.profiles import PROFILES
from ensemble.triton.render import render
from tests.deploy.checks import pods

_DEPLOY = Path(__file__).parents[2] / "deploy"
_SIZES = {"UINT8": 1, "FP32": 4, "INT32": 4, "INT64": 8}
# the largest published network, and YOLOX at its usual size
_NETWORK = TopDownNetwork("largest", "coco_wholebody", TopDownCrop((288, 384)), SimCC((576, 768)))
_DETECTOR = Detector((640, 640), 8400)


def test_shared_memory_holds_a_worst_case_request_in_every_instance():
    gpu = _shm("overlays/gpu/deployment.yaml")
    for profile, limit in (("cpu", _shm("base/deployment.yaml")), ("gpu", gpu), ("tensorrt", gpu)):
        assert _worst_case(profile) <= limit < 3 * _worst_case(profile), profile


def test_a_gpu_pod_has_one_instance_of_a_network():
    """The autoscaler compares busy instances with 0.7, as if they were a ratio."""
    models = [PROFILES["gpu"](model) for model in _models() if model.backend == "onnxruntime"]
    assert {model.instances.count for model in models} == {1}


def test_engines_are_written_to_the_mounted_volume():
    """At most one folder below it: ONNX Runtime creates the last folder of the path only."""
    networks = [PROFILES["tensorrt"](model) for model in _models() if model.backend == "onnxruntime"]
    kept = {value for model in networks for key, value in model.gpu_accelerator.parameters.items() if "_path" in key}
    assert len(kept) == len(networks), "one folder each: two builders must not write one file"
    assert {str(Path(folder).parent) for folder in kept} == {pods.ENGINES}
    component = (_DEPLOY / "components" / "tensorrt" / "deployment.yaml").read_text(encoding="utf-8")
    assert f"mountPath: {pods.ENGINES}}}" in component


def _worst_case(profile):
    in_python = [PROFILES[profile](model) for model in _models() if profile == "cpu" or model.backend == "python"]
    return sum(model.instances.count * _request(model) for model in in_python)


def _models():
    return [model for model in render(pipelines((_NETWORK,), _DETECTOR)) if isinstance(model, Model)]


def _request(model):
    """Bytes of the tensors of one execution."""
    batch = model.max_batch_size or 1
    return batch * sum(_bytes(tensor) for tensor in (*model.inputs, *model.outputs))


def _bytes(tensor):
    limits = PictureLimits()
    if tensor == IMAGE:
        return limits.max_bytes
    if tensor == IMAGE_BGR:
        return 3 * limits.max_pixels
    if tensor.name in ("simcc_x", "simcc_y"):
        bins = _NETWORK.head.bins[tensor.name == "simcc_y"]
        return bins * 133 * 4 * (MAX_PERSONS if -1 in tensor.dims else 1)
    return _SIZES[tensor.dtype] * math.prod(MAX_PERSONS if dim == -1 else dim for dim in tensor.dims)


def _shm(path):
    (size,) = re.findall(
        r"(?:medium: Memory, sizeLimit: |sizeLimit\n  value: )(\d+[GM]i)", (_DEPLOY / path).read_text()
    )
    return int(size[:-2]) * {"Mi": 1 << 20, "Gi": 1 << 30}[size[-2:]]
