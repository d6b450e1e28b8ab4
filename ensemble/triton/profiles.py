"""Machine profiles: Triton's custom configurations, `<model>/configs/<profile>.pbtxt`, one function each.

Chosen at start with `--model-config-name=<profile>`; a model without a file of that name keeps its `config.pbtxt`.
"""

from collections.abc import Callable
from dataclasses import replace

from ensemble.networks import MAX_PERSONS
from ensemble.triton.model import Accelerator, Instances, Model

Profile = Callable[[Model], Model]


def cpu(model: Model) -> Model:
    """Throughput on few cores: two single-threaded sessions waste less than one session of two threads.

    Nothing waits for company: pictures queue anyway while the sessions are busy.
    """
    if model.backend == "onnxruntime":
        return _on_cpu(model, sessions=2, threads=1)
    return _pixel_steps(model, processes=2)


def cpu_openvino(model: Model) -> Model:
    """As `cpu`, the pose networks on OpenVINO in float32; the detector is as fast on ONNX Runtime."""
    return _on_openvino(cpu(model), "FP32")


def cpu_bf16(model: Model) -> Model:
    """As `cpu-openvino`, in bfloat16, for processors that multiply it natively (AMX, AVX512-BF16).

    With the stand-in backend alone: Triton's C++ one reads no `precision`, so there it is OpenVINO's own choice.
    """
    return _on_openvino(cpu(model), "BF16")


def cpu_latency(model: Model) -> Model:
    """One caller at a time: one session of every core, so that a single picture has the whole machine."""
    return _on_cpu(model, sessions=1, threads=0) if model.backend == "onnxruntime" else model


def cpu_bf16_latency(model: Model) -> Model:
    """As `cpu-latency`, the pose networks on OpenVINO in bfloat16."""
    return _on_openvino(cpu_latency(model), "BF16")


def gpu(model: Model) -> Model:
    """Throughput on GPUs: one CUDA session each; decoding and cropping stay on the CPU and get more processes.

    The pose networks wait 1 ms for company: a fuller execution costs a GPU hardly more, and 1 ms is short beside it.
    """
    if model.trait == "gate" and "max_in_flight" in model.parameters:
        return replace(model, parameters={**model.parameters, **_GPU_IN_FLIGHT})
    if model.backend != "onnxruntime":
        return _pixel_steps(model, processes=4)
    parameters = {
        **model.parameters,
        "cudnn_conv_algo_search": "1",  # HEURISTIC: the default searches anew for every number of crops
        "arena_extend_strategy": "1",  # as requested: doubling wastes memory when batch sizes vary
        "intra_op_thread_count": "1",  # the GPU computes
    }
    model = replace(model, instances=Instances("KIND_GPU", 1), parameters=parameters)
    model = replace(model, warmup=_sizes(model) if _has_one_shape(model) else ())
    return _waiting(model, _GPU_DELAY_US) if model.trait == "person_network" else model


def tensorrt(model: Model) -> Model:
    """As `gpu`, the networks as TensorRT engines in FP16, built at the first start and kept on disk."""
    changed = gpu(model)
    if model.backend != "onnxruntime" or not _has_one_shape(model):  # an engine would be built for every new shape
        return changed
    cache = f"{_ENGINES}/{model.name}"
    parameters = {
        "precision_mode": "FP16",
        "trt_layer_norm_fp32_fallback": "1",  # the sums of squares overflow FP16
        "max_workspace_size_bytes": str(2**31),  # less, and the builder leaves its fastest kernels out
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": cache,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": cache,
        **_shape_profiles(model),
    }
    changed = replace(changed, gpu_accelerator=Accelerator("tensorrt", parameters))
    # dispatch immediately at the sizes the engine is optimised for
    return _waiting(changed, _GPU_DELAY_US if model.trait == "person_network" else 0, _sizes(model)[1:])


_GPU_DELAY_US = 1000
# A GPU executes up to 32 crops at once, and as many must be ready meanwhile, with one person in each picture.
_GPU_IN_FLIGHT = {"min_in_flight": str(MAX_PERSONS), "max_in_flight": str(2 * MAX_PERSONS)}
_CPU_BATCH = (
    8  # larger ones are no faster a person, and keep the other pictures waiting (`python -m benchmarks layouts`)
)
_ENGINES = "/var/cache/tensorrt"  # a volume of one kind of GPU, or every start builds anew


def _on_cpu(model: Model, sessions: int, threads: int) -> Model:
    """Threads of 0 are as many as there are cores."""
    parameters = {
        **model.parameters,
        "intra_op_thread_count": str(threads),
        "inter_op_thread_count": "1",
        "enable_mem_pattern": "0",  # one block for each number of crops that comes, and the gaps between them add up
    }
    model = replace(model, instances=Instances("KIND_CPU", sessions), parameters=parameters)
    model = _waiting(model, 0, (_CPU_BATCH,)) if model.max_batch_size > _CPU_BATCH else model
    # the memory of its usual batches is allocated at startup
    usual = (min(_CPU_BATCH, max(1, model.max_batch_size)),)
    return replace(model, warmup=usual if _has_one_shape(model) else ())


def _on_openvino(model: Model, precision: str) -> Model:
    if model.trait != "person_network":
        return model
    return replace(model, cpu_accelerator=Accelerator("openvino", {"precision": precision}))


def _pixel_steps(model: Model, processes: int) -> Model:
    """More processes for the steps that touch every pixel."""
    return replace(model, instances=Instances("KIND_CPU", processes)) if model.trait == "pixels" else model


def _waiting(model: Model, delay_us: int, preferred_sizes: tuple[int, ...] = ()) -> Model:
    if model.batching is None:
        return model
    batching = replace(model.batching, max_queue_delay_us=delay_us, preferred_sizes=preferred_sizes)
    return replace(model, batching=batching)


def _has_one_shape(model: Model) -> bool:
    return all(-1 not in tensor.dims for tensor in model.inputs)


def _sizes(model: Model) -> tuple[int, ...]:
    """1, a quarter, and the whole of the largest batch."""
    most = max(1, model.max_batch_size)
    return tuple(sorted({1, max(1, most // 4), most}))


def _shape_profiles(model: Model) -> dict[str, str]:
    """The largest shape is the largest batch: anything above would build an engine under load."""
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
    "cpu-latency": cpu_latency,
    "cpu-bf16-latency": cpu_bf16_latency,
    "gpu": gpu,
    "tensorrt": tensorrt,
}
