"""Machine profiles: Triton's custom configurations, `<model>/configs/<profile>.pbtxt`, one function each.

The option `--model-config-name=<profile>` chooses one. A model without a file of that name keeps its `config.pbtxt`.
"""

from collections.abc import Callable
from dataclasses import replace

from ensemble.networks import MAX_PERSONS
from ensemble.triton.model import Accelerator, Instances, Model

Profile = Callable[[Model], Model]


def cpu(model: Model) -> Model:
    """Throughput on few cores: two single-threaded sessions waste less than one session of two threads.

    There is no queue delay: pictures queue anyway while the sessions are busy.
    """
    if model.backend == "onnxruntime":
        return _on_cpu(model, sessions=2, threads=1)
    return _pixel_steps(model, processes=2)


def cpu_openvino(model: Model) -> Model:
    """As `cpu`, but with the pose networks on OpenVINO in float32. The detector is as fast on ONNX Runtime.

    While one session is idle, the other takes its thread, so a caller alone need not wait for one core.
    """
    return _on_openvino(cpu(model), "FP32")


def cpu_bf16(model: Model) -> Model:
    """As `cpu-openvino`, but in bfloat16, for processors that multiply it natively (AMX, AVX512-BF16).

    Networks of exact outputs (`ensemble/tensors.py`) stay in float32. Profiles with OpenVINO need the stand-in backend:
    Triton's own ignores `precision`, and the server refuses them there (`docs/backends.md`).
    """
    return _on_openvino(cpu(model), "BF16")


def cpu_int8(model: Model) -> Model:
    """As `cpu-bf16`, for files of `export quantize`: an eight-bit detector runs on OpenVINO, too.

    The eight bits are in the file: every profile, and the C++ backend, computes the same layers in them. ONNX Runtime
    gains little from them. A float32 file is served as by `cpu-bf16`.
    """
    return _in_eight_bits(cpu_bf16(model))


def cpu_latency(model: Model) -> Model:
    """Latency for one caller at a time: one session with a thread per core."""
    return _on_cpu(model, sessions=1, threads=0) if model.backend == "onnxruntime" else model


def cpu_bf16_latency(model: Model) -> Model:
    """As `cpu-latency`, but with the pose networks on OpenVINO in bfloat16."""
    return _on_openvino(cpu_latency(model), "BF16")


def cpu_int8_latency(model: Model) -> Model:
    """As `cpu-bf16-latency`, for files of `export quantize`; see `cpu_int8`."""
    return _in_eight_bits(cpu_bf16_latency(model))


def gpu(model: Model) -> Model:
    """Throughput on GPUs: one CUDA session per network. Decoding and cropping stay on the CPU, in more processes.

    The pose networks have a queue delay of 1 ms: a fuller batch costs a GPU hardly more, and 1 ms is short beside it.
    """
    if model.trait == "gate" and "max_in_flight" in model.parameters:
        return replace(model, parameters={**model.parameters, **_GPU_IN_FLIGHT})
    if model.backend != "onnxruntime":
        return _pixel_steps(model, processes=4)
    parameters = {
        **model.parameters,
        "cudnn_conv_algo_search": "1",  # HEURISTIC: the default repeats its search for every batch size
        "arena_extend_strategy": "1",  # kSameAsRequested: doubling wastes memory when batch sizes vary
        "intra_op_thread_count": "1",  # the GPU computes
    }
    model = replace(model, instances=Instances("KIND_GPU", 1), parameters=parameters)
    model = replace(model, warmup=_sizes(model) if _has_one_shape(model) else ())
    return _waiting(model, _GPU_DELAY_US) if model.trait == "person_network" else model


def tensorrt(model: Model) -> Model:
    """As `gpu`, but with TensorRT engines in FP16, which are built at the first start and cached on disk.

    Networks of exact outputs (`ensemble/tensors.py`) stay in float32.
    """
    return _on_tensorrt(model, "FP16")


def tensorrt_bf16(model: Model) -> Model:
    """As `tensorrt`, but in BF16, for pose heads that overflow FP16. It needs compute capability 8.0."""
    return _on_tensorrt(model, "BF16")


_GPU_DELAY_US = 1000
# A GPU runs up to 32 crops in one batch, and 32 more must be ready when it ends. Each picture may hold one person.
_GPU_IN_FLIGHT = {"min_in_flight": str(MAX_PERSONS), "max_in_flight": str(2 * MAX_PERSONS)}
# People in one run of a network. Larger batches are no faster per person, delay the other pictures, and take more
# memory (`docs/decisions/0041-left-as-it-is.md`). Several threads, and OpenVINO, are faster with 8 than with 4.
_CPU_BATCH, _LARGER_BATCH = 4, 8
_ENGINES = "/var/cache/tensorrt"  # mount a volume for each kind of GPU; without one, every start builds the engines


def _on_tensorrt(model: Model, precision: str) -> Model:
    changed = gpu(model)
    if model.backend != "onnxruntime" or not _has_one_shape(model):  # an engine would be built for every new shape
        return changed
    cache = f"{_ENGINES}/{model.name}"
    parameters = {
        "precision_mode": "FP32" if _is_exact(model) else precision,
        "trt_layer_norm_fp32_fallback": "1",  # the sums of squares overflow FP16
        "max_workspace_size_bytes": str(2**31),  # with less, the builder skips its fastest kernels
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": cache,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": cache,
        **_shape_profiles(model),
    }
    changed = replace(changed, gpu_accelerator=Accelerator("tensorrt", parameters))
    # dispatch immediately at the sizes the engine is optimised for
    return _waiting(changed, _GPU_DELAY_US if model.trait == "person_network" else 0, _sizes(model)[1:])


def _on_cpu(model: Model, sessions: int, threads: int) -> Model:
    """Place a network on CPU sessions; 0 threads mean one per core."""
    parameters = {
        **model.parameters,
        "intra_op_thread_count": str(threads),
        "inter_op_thread_count": "1",
        "enable_mem_pattern": "0",  # a pattern keeps one block for each batch size, and the gaps between them add up
    }
    model = replace(model, instances=Instances("KIND_CPU", sessions), parameters=parameters)
    if model.trait != "person_network":
        return _in_runs_of(model, 1)
    return _in_runs_of(model, _CPU_BATCH if threads == 1 else _LARGER_BATCH)


def _in_runs_of(model: Model, items: int) -> Model:
    """Limit the items of a run; the stand-in splits a request of more people."""
    largest = min(items, max(1, model.max_batch_size))
    model = replace(model, parameters={**model.parameters, "largest_run": str(largest)})
    if largest == 1:
        model = replace(model, batching=None)  # it only would be one more thread to wake
    elif model.max_batch_size > largest:
        model = _waiting(model, 0, (largest,))
    # the warm-up allocates the memory of a run at startup
    return replace(model, warmup=(largest,) if _has_one_shape(model) else ())


def _on_openvino(model: Model, precision: str) -> Model:
    if model.trait != "person_network":
        return model
    chosen = "FP32" if _is_exact(model) else precision
    model = replace(model, cpu_accelerator=Accelerator("openvino", {"precision": chosen}))
    if model.instances.count > 1:
        model = replace(model, parameters={**model.parameters, "alone_takes_all_threads": "1"})
    return _in_runs_of(model, _LARGER_BATCH)


def _in_eight_bits(model: Model) -> Model:
    """Place an eight-bit detector on OpenVINO. bfloat16 would round its boxes to two pixels."""
    is_detector = model.trait == "picture_network" and _has_one_shape(model)  # OpenVINO cannot read LOGO-CAP
    if not is_detector or model.parameters.get("precision") != "int8":
        return model
    return replace(model, cpu_accelerator=Accelerator("openvino", {"precision": "FP32"}))


def _pixel_steps(model: Model, processes: int) -> Model:
    """Give more processes to the steps that touch every pixel."""
    return replace(model, instances=Instances("KIND_CPU", processes)) if model.trait == "pixels" else model


def _waiting(model: Model, delay_us: int, preferred_sizes: tuple[int, ...] = ()) -> Model:
    if model.batching is None:
        return model
    batching = replace(model.batching, max_queue_delay_us=delay_us, preferred_sizes=preferred_sizes)
    return replace(model, batching=batching)


def _is_exact(model: Model) -> bool:
    return any(tensor.exact for tensor in model.outputs)


def _has_one_shape(model: Model) -> bool:
    return all(-1 not in tensor.dims for tensor in model.inputs)


def _sizes(model: Model) -> tuple[int, ...]:
    """Return the batch sizes 1, a quarter of the largest, and the largest."""
    most = max(1, model.max_batch_size)
    return tuple(sorted({1, max(1, most // 4), most}))


def _shape_profiles(model: Model) -> dict[str, str]:
    """Return TensorRT's shape profiles up to the largest batch. A larger shape would build an engine under load."""
    sizes = _sizes(model)
    named = {"min": sizes[0], "opt": sizes[len(sizes) // 2], "max": sizes[-1]}
    shapes = [(tensor.name, "x".join(map(str, tensor.dims))) for tensor in model.inputs]
    return {
        f"trt_profile_{name}_shapes": ",".join(f"{tensor}:{size}x{dims}" for tensor, dims in shapes)
        for name, size in named.items()
    }


PROFILES: dict[str, Profile] = {
    "cpu": cpu,
    "cpu-openvino": cpu_openvino,
    "cpu-bf16": cpu_bf16,
    "cpu-int8": cpu_int8,
    "cpu-latency": cpu_latency,
    "cpu-bf16-latency": cpu_bf16_latency,
    "cpu-int8-latency": cpu_int8_latency,
    "gpu": gpu,
    "tensorrt": tensorrt,
    "tensorrt-bf16": tensorrt_bf16,
}
