"""Export to ONNX, shared by the families: tracing, provenance, and the comparison before the file is written."""

import io
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export import graph_edit, metadata
from export.comparison import PRECISIONS, Answers, Difference, difference, joined
from export.half_weights import store_half

Tensors: TypeAlias = Mapping[str, Tensor]

EXPORTER = "cigpose-triton export 4"  # raise the number when the same checkpoint gives another graph
OPSET = 17
_BATCHES = (slice(0, 1), slice(1, 3), slice(3, None))  # batches of the samples on which an export is compared


@dataclass(frozen=True)
class ExportOptions:
    """Options of `export onnx`.

    Attributes:
        variant: expected variant; None: recognised from names and shapes.
        precision: a key of PRECISIONS.
        flip_test: average with the mirrored crop inside the graph; doubles the work.
        max_difference: overrides the bound of the precision.
        checkpoint_sha256: digest of the checkpoint, for the metadata.

    Raises:
        ValueError: the precision is unknown.
    """

    variant: str | None = None
    precision: str = "fp32"
    flip_test: bool = False
    max_difference: float | None = None
    checkpoint_sha256: str = ""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"unknown precision {self.precision!r}; known: {', '.join(PRECISIONS)}")


@dataclass(frozen=True)
class ExportReport:
    """Result of the comparison that ends an export.

    Attributes:
        network: name of the variant.
        difference: difference of ONNX Runtime's answers from those of the float32 network in PyTorch.
        samples: number of samples that were compared.
        bound: allowed `difference.rms`.
    """

    network: str
    difference: Difference
    samples: int
    bound: float

    def __str__(self) -> str:
        """Return one readable line."""
        return f"{self.difference}, over {self.samples} samples; allowed rms: {self.bound:g}"


@dataclass(frozen=True)
class Original:
    """The network of a checkpoint in PyTorch, to be compared with its served form.

    Attributes:
        module: the network, float32, in eval mode; its outputs are in the order of the served ones.
        prepare: converts served inputs to those of the module.
        clearest: returns, for the module's inputs and a count, the items on which rounding changes no decision.
    """

    module: nn.Module
    prepare: Callable[[Answers], Tensors]
    clearest: Callable[[Tensors, int], NDArray[np.intp]]


def trace(module: nn.Module, inputs: Tensors, outputs: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    """Return the ONNX graph of a module, with a dynamic batch axis.

    Args:
        module: the module, in eval mode.
        inputs: an example of two items for each input.
        outputs: name -> shape without the batch axis.

    Raises:
        ValueError: see `trace_graph`.
    """
    axes = {name: {0: graph_edit.BATCH_AXIS} for name in (*inputs, *outputs)}
    model = trace_graph(module, inputs, list(outputs), axes)
    graph_edit.set_outputs(model, outputs)  # the exporter may not have inferred the shapes
    return model


def trace_graph(
    module: nn.Module, inputs: Tensors, outputs: Sequence[str], axes: Mapping[str, Mapping[int, str]]
) -> onnx.ModelProto:
    """Return the ONNX graph of a module.

    Args:
        module: the module, in eval mode.
        inputs: an example of each input.
        outputs: names.
        axes: tensor -> its dynamic axes, with their names.

    Raises:
        ValueError: the module is in training mode, or tracing bakes values of the example into the graph (the message
            says where).
    """
    if module.training:
        raise ValueError("the network is in training mode; call eval() first")
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")  # also PyTorch's advice to use its other exporter
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            file,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    baked = [str(warning.message) for warning in caught if warning.category is torch.jit.TracerWarning]
    if baked:
        raise ValueError(f"the graph would be valid for one input only: {'; '.join(baked)}")
    model = onnx.load_from_string(file.getvalue())
    _restore_unused(model, inputs)
    return model


def _restore_unused(model: onnx.ModelProto, inputs: Tensors) -> None:
    """Add the float32 inputs that the module does not use, which the exporter leaves out."""
    used = {value.name: value for value in model.graph.input}
    shapes = {name: [graph_edit.BATCH_AXIS, *tensor.shape[1:]] for name, tensor in inputs.items()}
    for name in inputs.keys() - used.keys():
        used[name] = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shapes[name])
    del model.graph.input[:]
    model.graph.input.extend(used[name] for name in inputs)


def save_compared(
    model: onnx.ModelProto,
    path: Path,
    description: dict[str, Any],
    original: nn.Module,
    inputs: Tensors,
    options: ExportOptions,
    kept: Collection[str] = (),
) -> ExportReport:
    """Compare an export with the float32 network, and write it when they agree.

    Args:
        model: the export.
        path: path of the file, which is replaced atomically.
        description: metadata on inputs and outputs, with `family` and `variant`.
        original: the network, with flip test if the export has it.
        inputs: four samples or more, compared in batches of 1, 2 and the rest.
        options: options of the command.
        kept: weights that stay in float32 where the precision stores others in float16.

    Raises:
        ValueError: the answers differ by more than the bound (the message says by how much).
    """
    model = store_half(model, kept) if options.precision == "fp16-weights" else model
    provenance = {
        "precision": options.precision,
        "flip_test": options.flip_test,
        "checkpoint_sha256": options.checkpoint_sha256,
        "exporter": EXPORTER,
    }
    metadata.write(model, description | provenance)
    session, names = graph_edit.cpu_session(model), [value.name for value in model.graph.output]
    batches = [{name: tensor[part].numpy() for name, tensor in inputs.items()} for part in _BATCHES]
    answers = joined([_named(names, session.run(names, batch)) for batch in batches])
    found = difference(answers_of(original, inputs, names), answers)
    bound = PRECISIONS[options.precision] if options.max_difference is None else options.max_difference
    report = ExportReport(description["variant"], found, len(next(iter(inputs.values()))), bound)
    if not found.rms <= bound:  # also when it is NaN
        raise ValueError(f"{path} not written: ONNX Runtime and PyTorch differ, {report}")
    graph_edit.save(model, path)
    return report


def answers_of(module: nn.Module, inputs: Tensors, names: Sequence[str]) -> Answers:
    """Return a module's outputs under these names. Samples run one at a time."""
    with torch.no_grad():
        found = [module(*(tensor[None] for tensor in sample)) for sample in zip(*inputs.values(), strict=True)]
    outputs = [each if isinstance(each, tuple) else (each,) for each in found]
    return joined([_named(names, [tensor.numpy() for tensor in each]) for each in outputs])


def _named(names: Sequence[str], arrays: Sequence[NDArray[Any]]) -> Answers:
    return dict(zip(names, arrays, strict=True))
