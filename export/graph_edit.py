"""Edits of ONNX graphs: a dynamic batch axis, nodes before and after, and a check that batching is correct."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from cigpose_client.outputs import write_file
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

BATCH_AXIS = "batch"
_WEIGHTS_APART = 4  # the first IR version in which weights need not be listed as inputs


def load(path: Path) -> onnx.ModelProto:
    """Read an ONNX file.

    Raises:
        ValueError: the file is no valid ONNX model, or a file of its weights is missing.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except Exception as error:  # protobuf's DecodeError, OSError: they share no narrower base
        raise ValueError(f"{path}: not a valid ONNX file ({type(error).__name__})") from error
    if missing := [file for file in external_files(path, model) if not file.is_file()]:
        raise ValueError(f"{path}: its weights are in {missing[0]}, which does not exist; put that file there")
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        _check_form(model)
    except (onnx.checker.ValidationError, ValueError, OSError) as error:
        raise ValueError(f"{path}: not a valid ONNX file: {error}") from error
    model.ir_version = max(model.ir_version, _WEIGHTS_APART)
    weights = {tensor.name for tensor in model.graph.initializer}  # old exporters also list them as inputs
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    _share_with_subgraphs(model)
    return model


def external_files(path: Path, model: onnx.ModelProto) -> list[Path]:
    """Return the files that hold weights of the ONNX file at `path`, apart from itself."""
    outside = [tensor for _, tensor in _constants(model) if uses_external_data(tensor)]
    return sorted({path.parent / ExternalDataInfo(tensor).location for tensor in outside})


def _check_form(model: onnx.ModelProto) -> None:
    """Check a model whose outputs may state no shape, which ONNX requires, but ONNX Runtime does not."""
    shapeless = [value for value in model.graph.output if not value.type.tensor_type.HasField("shape")]
    for value in shapeless:
        value.type.tensor_type.shape.SetInParent()
    onnx.checker.check_model(model)
    for value in shapeless:
        value.type.tensor_type.ClearField("shape")


def _share_with_subgraphs(model: onnx.ModelProto) -> None:
    """Turn weights that subgraphs read into Constant nodes: `onnx.compose` renames no weights in subgraphs."""
    read = set[str]().union(*map(_subgraphs_read, model.graph.node))
    shared = [tensor for tensor in model.graph.initializer if tensor.name in read]
    insert_first(model, [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in shared])
    for tensor in shared:
        model.graph.initializer.remove(tensor)


def _reads(node: onnx.NodeProto) -> set[str]:
    """Return the names of the tensors that a node and its subgraphs read."""
    return set(node.input) | _subgraphs_read(node)


def _subgraphs_read(node: onnx.NodeProto) -> set[str]:
    """Return the names of the tensors that the subgraphs of a node (If, Loop, Scan) read."""
    graphs = [graph for each in node.attribute for graph in (each.g, *each.graphs)]
    return set[str]().union(*(_reads(inner) for graph in graphs for inner in graph.node))


def check_runs(path: Path, model: onnx.ModelProto) -> None:
    """Raise ValueError when ONNX Runtime cannot load the served form of the file at `path`."""
    try:
        onnx.checker.check_model(model, full_check=True)
        cpu_session(model)
    except Exception as error:  # the errors of onnx and ONNX Runtime share no narrower base
        raise ValueError(f"{path}: ONNX Runtime cannot run its served form: {error}") from error


def save(model: onnx.ModelProto, path: Path) -> None:
    """Check a model and write it atomically: a failure leaves the old file."""
    onnx.checker.check_model(model, full_check=True)
    write_file(path, model.SerializeToString(deterministic=True))


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def shapes(values: Iterable[onnx.ValueInfoProto]) -> list[list[int]]:
    """Return the dims of inputs or outputs; 0 for a dim that the file leaves open."""
    return [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values]


def signature(model: onnx.ModelProto) -> str:
    """Return what a file takes and answers, in words."""
    takes, answers = (
        ", ".join(f"{value.name} {shape}" for value, shape in zip(values, shapes(values), strict=True))
        for values in (model.graph.input, model.graph.output)
    )
    return f"inputs: {takes}; outputs: {answers}"


def constant(model: onnx.ModelProto, name: str, values: NDArray[np.generic] | Sequence[int]) -> str:
    """Add an initializer (integers become int64) and return its name."""
    array = np.asarray(values)
    model.graph.initializer.append(numpy_helper.from_array(array, name))
    return name


def open_batch_axis(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose first axis is dynamic wherever it was fixed to 1.

    Inputs and outputs get a symbolic first axis. A Reshape of values of the inputs to a constant shape that begins with
    1 copies its input's first axis instead. `batches_correctly` checks whether the result is right.
    """
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    for value in (*opened.graph.input, *opened.graph.output):
        for dim in value.type.tensor_type.shape.dim[:1]:  # an exporter may have left the shape out
            dim.dim_param = BATCH_AXIS
    del opened.graph.value_info[:]  # they repeat the fixed batch
    values = _computed_from_inputs(opened)
    targets = {n.input[1] for n in opened.graph.node if n.op_type == "Reshape" and n.input[0] in values}
    for tensor in _constants(opened):
        shape = numpy_helper.to_array(tensor[1])
        if tensor[0] in targets and shape.size > 1 and shape[0] == 1:
            changed = shape.copy()
            changed[0] = 0  # Reshape: copy this axis from the input
            tensor[1].CopyFrom(numpy_helper.from_array(changed, tensor[1].name))
    return opened


def batches_correctly(model: onnx.ModelProto, tolerance: float = 1e-3) -> bool:
    """Return whether a batch of two different inputs gives the outputs of two single runs.

    A network that compares numbers (CIGPose's intervention, RT-DETR's best queries) may meet a tie, which rounding
    decides. So after a pair that disagrees, two other pairs have to agree.

    Args:
        model: a model whose inputs are uint8 or float32, with a dynamic first axis and all other axes fixed.
        tolerance: largest difference, relative to the output's largest value.
    """
    try:
        session = cpu_session(model)
        return _agree(session, 0, tolerance) or all(_agree(session, seed, tolerance) for seed in (1, 2))
    except Exception:  # ONNX Runtime's errors share no narrower base; any of them means that batching fails
        return False


def _agree(session: onnxruntime.InferenceSession, seed: int, tolerance: float) -> bool:
    generator = np.random.default_rng(seed)
    batch = {
        source.name: generator.integers(0, 256, (2, *source.shape[1:])).astype(
            np.uint8 if "uint8" in source.type else np.float32
        )
        for source in session.get_inputs()
    }
    together = session.run(None, batch)
    alone = [session.run(None, {name: array[i : i + 1] for name, array in batch.items()}) for i in range(2)]
    for output, singles in zip(together, zip(*alone, strict=True), strict=True):
        expected = np.concatenate(singles)
        if output.shape != expected.shape or np.abs(output - expected).max() > tolerance * np.abs(expected).max():
            return False
    return True


def cpu_session(model: onnx.ModelProto, threads: int = 0) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session on the CPU that logs errors only; `threads` 0: one per core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def uint8_input(model: onnx.ModelProto, name: str, source: str, size: tuple[int, int]) -> list[onnx.NodeProto]:
    """Give the model an input `name` UINT8 [batch, h, w, 3] and return the nodes that convert it to FP32 planes.

    Args:
        model: the model to change; its first input, the picture, is replaced.
        name: name of the new input.
        source: name of the resulting tensor, FP32 [batch, 3, h, w], colour order unchanged.
        size: (w, h).
    """
    shape = [BATCH_AXIS, size[1], size[0], 3]
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, shape))
    return [
        helper.make_node("Transpose", [name], [f"{source}/planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", [f"{source}/planes"], [source], to=onnx.TensorProto.FLOAT),
    ]


def set_outputs(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """Make these float32 tensors the model's outputs; shapes are without the batch axis."""
    del model.graph.output[:]
    for name, shape in shapes.items():
        value = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [BATCH_AXIS, *shape])
        model.graph.output.append(value)


def insert_first(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Insert nodes before all others; ONNX requires nodes in order of use."""
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])


def pruned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy without the nodes and initializers that no output needs."""
    needed = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(_reads(node))
            kept.append(node)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:], result.graph.initializer[:], result.graph.value_info[:]
    result.graph.node.extend(reversed(kept))
    result.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in needed)
    return result


def with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """Return the part of a model that makes these tensors."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.output[:]
    part.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    return pruned(part)


def _computed_from_inputs(model: onnx.ModelProto) -> set[str]:
    """Return the names of the tensors that depend on the inputs' values, not only on constants or shapes."""
    found = {value.name for value in model.graph.input}
    for node in model.graph.node:  # in order of use
        if node.op_type not in ("Shape", "Size") and found.intersection(_reads(node)):
            found.update(node.output)
    return found


def _constants(model: onnx.ModelProto) -> list[tuple[str, onnx.TensorProto]]:
    """Return the constants, initializers and Constant nodes, with their tensors' names."""
    nodes = [node for node in model.graph.node if node.op_type == "Constant" and node.attribute[0].name == "value"]
    return [(tensor.name, tensor) for tensor in model.graph.initializer] + [
        (node.output[0], node.attribute[0].t) for node in nodes
    ]
