"""Stand-in for Triton's C++ `onnxruntime` backend: the same model folders and settings, run by the Python package.

Triton finds it by the name of this folder when a config states `backend: "onnxruntime"`. All requests of one call of
`execute` become one run, whose result is split again. The model's parameter `largest_run` limits the items of a run:
its memory grows with them, and the session keeps it.

It honours `default_model_filename`, `intra_op_thread_count`, `inter_op_thread_count`, `execution_mode`,
`enable_mem_pattern`, `optimization.graph.level`, CPU and GPU instances, and on CPU instances the accelerator
`openvino`, which runs in the package openvino itself. Only this backend honours that accelerator's parameter
`precision` (FP32 or BF16) and the number of threads; the C++ backend passes neither on. With the model's parameter
`alone_takes_all_threads`, an OpenVINO instance takes the threads of all for a run that begins while the others are
idle. GPU instances need the package onnxruntime-gpu. They honour `cudnn_conv_algo_search`, `arena_extend_strategy`,
`gpu_mem_limit` and the accelerator `tensorrt`. Other accelerators are an error: to ignore them would be misleading.
"""

import ctypes
import json
import os
import traceback

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils
from gpu_providers import gpu_providers

_TRITON_OF_ONNX = {
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(float)": "TYPE_FP32",
    "tensor(float16)": "TYPE_FP16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
}
_GRAPH_LEVELS = {  # Triton's optimization.graph.level
    0: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


class TritonPythonModel:
    """One instance: one ONNX Runtime session."""

    def initialize(self, args):
        config = json.loads(args["model_config"])
        filename = config["default_model_filename"] or "model.onnx"
        path = os.path.join(args["model_repository"], args["model_version"], filename)
        self.session = _session(args, config, path)
        _check_interface(config, self.session)
        # loading leaves more freed memory than the weights take; glibc would keep it (`server/installation.py`)
        ctypes.CDLL(None).malloc_trim(0)
        self.largest_run = int(_parameters(config).get("largest_run", 0))
        self.batches = config["max_batch_size"] > 0
        self.inputs = [entry["name"] for entry in config["input"]]
        self.outputs = [entry["name"] for entry in config["output"]]

    def execute(self, requests):
        groups = [requests] if self.batches else [[request] for request in requests]
        try:
            return [response for group in groups for response in self._run_together(group)]
        except Exception:  # Triton would show an escaping exception, with its file paths, to the callers
            pb_utils.Logger.log_error(traceback.format_exc())
            return [pb_utils.InferenceResponse(error=pb_utils.TritonError("internal error")) for _ in requests]

    def _run_together(self, requests):
        parts = [
            [pb_utils.get_input_tensor_by_name(request, n).as_numpy() for n in self.inputs] for request in requests
        ]
        merged = [arrays[0] if len(arrays) == 1 else np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
        results = self._run(merged)
        if len(requests) == 1:
            tensors = [pb_utils.Tensor(name, array) for name, array in zip(self.outputs, results, strict=True)]
            return [pb_utils.InferenceResponse(tensors)]
        responses, first = [], 0
        for arrays in parts:
            end = first + len(arrays[0])
            tensors = [
                pb_utils.Tensor(name, array[first:end]) for name, array in zip(self.outputs, results, strict=True)
            ]
            responses.append(pb_utils.InferenceResponse(tensors))
            first = end
        return responses

    def _run(self, arrays):
        items, most = len(arrays[0]), self.largest_run
        if not self.batches or not most or items <= most:
            return self.session.run(self.outputs, dict(zip(self.inputs, arrays, strict=True)))
        results = []
        for first in range(0, items, most):
            part = self._run([array[first : first + most] for array in arrays])
            results = results or [np.empty((items, *array.shape[1:]), array.dtype) for array in part]
            for whole, array in zip(results, part, strict=True):
                whole[first : first + most] = array  # OpenVINO's next run writes to the same memory
        return results


def _session(args, config, path):
    kind = args["model_instance_kind"].lower()
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    asked = {
        entry["name"]: entry.get("parameters", {}) for entry in accelerators.get(f"{kind}_execution_accelerator", [])
    }
    if (kind, *asked) == ("cpu", "openvino"):
        return _openvino_session(args, config, path, asked["openvino"])
    if asked and (kind, *asked) != ("gpu", "tensorrt"):
        raise pb_utils.TritonModelException(
            f"{config['name']}: this server's ONNX Runtime backend has no execution accelerator "
            f"{', '.join(asked)}; choose another profile, or run NVIDIA's container"
        )
    if kind != "gpu":
        return onnxruntime.InferenceSession(path, _session_options(config), providers=["CPUExecutionProvider"])
    return _gpu_session(args, config, path, asked.get("tensorrt"))


def _openvino_session(args, config, path, options):
    try:
        from openvino_session import Instances, OpenVinoSession
    except ImportError:
        raise pb_utils.TritonModelException(
            f"{config['name']}: the accelerator openvino needs the package of that name (pip install openvino)"
        ) from None
    precision = {"FP32": "f32", "BF16": "bf16"}[options.get("precision", "FP32")]
    parameters, count = _parameters(config), sum(group["count"] for group in config["instance_group"])
    instances = None
    if count > 1 and parameters.get("alone_takes_all_threads") == "1":
        instances = Instances(config["name"], int(args["model_instance_name"].rpartition("_")[2]), count)
    return OpenVinoSession(path, int(parameters.get("intra_op_thread_count", 0)), precision, instances)


def _parameters(config):
    return {key: entry["string_value"] for key, entry in config["parameters"].items()}


def _session_options(config):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    parameters = _parameters(config)
    options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", 0))
    options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", 0))
    # idle threads would spin for milliseconds after each run, on cores that the next step needs
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.enable_mem_pattern = parameters.get("enable_mem_pattern", "1") != "0"
    if parameters.get("execution_mode", "0") == "1":
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = _GRAPH_LEVELS.get(level, _GRAPH_LEVELS[0])
    return options


def _gpu_session(args, config, path, tensorrt):
    try:
        providers = gpu_providers(args["model_instance_device_id"], _parameters(config), tensorrt)
    except ValueError as error:
        raise pb_utils.TritonModelException(f"{config['name']}: {error}") from None
    wanted = providers[0][0]
    has = wanted in onnxruntime.get_available_providers()
    session = onnxruntime.InferenceSession(path, _session_options(config), providers=providers) if has else None
    if session is None or wanted not in session.get_providers():  # the session would silently run on the CPU
        raise pb_utils.TritonModelException(
            f"{config['name']}: {wanted} is not available; GPU instances need the package onnxruntime-gpu in place of "
            "onnxruntime, and the libraries of CUDA, cuDNN and, for the profile tensorrt, TensorRT"
        )
    return session


def _check_interface(config, session):
    for kind, stated, actual in (
        ("input", config["input"], session.get_inputs()),
        ("output", config["output"], session.get_outputs()),
    ):
        batch = [-1] if config["max_batch_size"] else []
        in_config = {entry["name"]: (entry["data_type"], batch + [int(d) for d in entry["dims"]]) for entry in stated}
        in_file = {value.name: (_TRITON_OF_ONNX.get(value.type, value.type), _dims(value.shape)) for value in actual}
        missing = in_file.keys() - in_config.keys() if kind == "input" else set()
        if missing or any(not _fits(in_file.get(name), tensor) for name, tensor in in_config.items()):
            raise pb_utils.TritonModelException(
                f"{config['name']}: the config states the {kind}s {in_config}, the ONNX file has {in_file}; "
                "generate the repository again from this file"
            )


def _dims(shape):
    return [dim if isinstance(dim, int) else -1 for dim in shape]


def _fits(tensor, stated):
    """Return whether a file's (dtype, dims) match those of a config; -1 matches every size."""
    if tensor is None or tensor[0] != stated[0] or len(tensor[1]) != len(stated[1]):
        return False
    return all(a == b or -1 in (a, b) for a, b in zip(tensor[1], stated[1], strict=True))
