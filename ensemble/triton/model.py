"""Frozen dataclasses that describe one Triton model. `pbtxt.py` turns them into `ModelConfig`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ensemble.tensors import Tensor

Trait: TypeAlias = Literal["light", "pixels", "gate", "picture_network", "person_network"]
"""The kind of work of a model: little, a pass over every pixel, admission, a network run per picture or per person."""


@dataclass(frozen=True)
class Instances:
    """`count` instances of `kind` (`KIND_CPU`, `KIND_GPU`, `KIND_AUTO`)."""

    kind: str
    count: int = 1


@dataclass(frozen=True)
class DynamicBatching:
    """Dynamic batching of queued requests.

    No limit of the queue: with one, Triton 2.51 fetches nothing ahead, and its scheduler may sleep for half a second
    beside an idle instance (`docs/decisions/0022-gate.md`). The gate bounds all queues (`ensemble/triton/admission/`).

    Attributes:
        max_queue_delay_us: longest time that a request waits for others to be batched with.
        preferred_sizes: batch sizes that are dispatched immediately. Without any, a batch is dispatched when it is full
            or when the delay ends.
    """

    max_queue_delay_us: int = 0
    preferred_sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Accelerator:
    """An ONNX Runtime execution provider with its options."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """One model with a backend of its own.

    Attributes:
        name: folder and model name.
        backend: `python` or `onnxruntime`.
        trait: kind of work, by which a machine profile chooses settings.
        inputs: input tensors.
        outputs: output tensors.
        max_batch_size: 0 for a model that never batches.
        parameters: the step's or network's facts and settings.
        instances: kind of device and number of instances.
        batching: how requests are batched; None for a model that never batches.
        cpu_accelerator: ONNX Runtime execution provider on CPU instances.
        gpu_accelerator: ONNX Runtime execution provider on GPU instances.
        warmup: batch sizes that every instance runs once before the model is ready.
    """

    name: str
    backend: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    trait: Trait = "light"
    max_batch_size: int = 0
    parameters: Mapping[str, str] = field(default_factory=dict)
    instances: Instances = Instances("KIND_CPU")
    batching: DynamicBatching | None = None
    cpu_accelerator: Accelerator | None = None
    gpu_accelerator: Accelerator | None = None
    warmup: tuple[int, ...] = ()


@dataclass(frozen=True)
class Step:
    """One step of an ensemble; both maps go from the model's tensor name to the ensemble's."""

    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class Ensemble:
    """A graph of models that answers as one model."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    steps: tuple[Step, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)
