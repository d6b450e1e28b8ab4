"""Converts Triton's parameters of a GPU instance to execution providers of the Python package."""

_CUDA_PARAMETERS = {  # Triton's parameter -> the provider's option, and its values by Triton's number
    "cudnn_conv_algo_search": ("cudnn_conv_algo_search", {"0": "EXHAUSTIVE", "1": "HEURISTIC", "2": "DEFAULT"}),
    "arena_extend_strategy": ("arena_extend_strategy", {"0": "kNextPowerOfTwo", "1": "kSameAsRequested"}),
    "gpu_mem_limit": ("gpu_mem_limit", {}),
}
_TENSORRT_NAMES = {"max_workspace_size_bytes": "trt_max_workspace_size"}  # other options have the same name


def gpu_providers(device, parameters, accelerator=None):
    """Return ONNX Runtime's list of providers, best first.

    `parameters` are those of the model. `accelerator` holds the parameters of the accelerator `tensorrt`, or is None.
    """
    cuda = {"device_id": device}
    for name, (option, values) in _CUDA_PARAMETERS.items():
        if name in parameters:
            cuda[option] = values.get(parameters[name], parameters[name])
    providers = [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]
    if accelerator is None:
        return providers
    options = dict(accelerator)
    precision = options.pop("precision_mode", "FP32")
    if precision not in ("FP32", "FP16", "BF16"):
        raise ValueError(f"precision_mode is {precision!r}; this backend supports FP32, FP16 and BF16")
    tensorrt = {"device_id": device, "trt_fp16_enable": str(int(precision == "FP16"))}
    if precision == "BF16":  # older versions of ONNX Runtime do not know the option
        tensorrt["trt_bf16_enable"] = "1"
    tensorrt |= {_TENSORRT_NAMES.get(name, name): value for name, value in options.items()}
    return [("TensorrtExecutionProvider", tensorrt), *providers]
