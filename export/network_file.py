"""Inputs and outputs of a published network file, read from the file or found by running it once."""

from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper

from ensemble.geometry import Size
from export import graph_edit
from export.tfjs import graph_model

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


def companions(path: Path) -> list[Path]:
    """Return the files of weights of an ONNX file or a graph model (.json); none for another or a damaged file."""
    try:
        if path.suffix == ".json":
            return graph_model.weight_files(path)
        return graph_edit.external_files(path, onnx.load(path, load_external_data=False))
    except (DecodeError, ValueError, OSError):  # the command itself reports what is wrong with the file
        return []


def fix_size(path: Path, model: onnx.ModelProto, known: Size | None, option: str) -> Size:
    """Return (w, h) of the picture input [batch, 3, H, W] and write it into the model where the file leaves it open.

    Args:
        path: path of the file, for messages.
        model: the model, changed in place.
        known: size for a file that leaves it open.
        option: option of the command line that sets the size, for messages.

    Raises:
        ValueError: there is no such input, it is not of floating point, neither the file nor `known` states its size,
            or the batch is fixed to more than one.
    """
    found = picture(path, model)
    if (kind := _elem(found)) not in _FLOATS:
        raise ValueError(
            f"{path}: the input {found.name} is {TensorProto.DataType.Name(kind)}; export the network with "
            f"{' or '.join(map(TensorProto.DataType.Name, _FLOATS))}"
        )
    dims = found.type.tensor_type.shape.dim
    if dims[0].dim_value > 1:
        raise ValueError(
            f"{path}: the batch is fixed to {dims[0].dim_value}; export the network with a dynamic batch or 1"
        )
    stated = dims[3].dim_value, dims[2].dim_value
    if min(stated) < 1:
        if known is None:
            raise ValueError(f"{path}: the input's height and width are left open; set them with {option} WIDTHxHEIGHT")
        stated = known
        dims[3].dim_value, dims[2].dim_value = known
        del model.graph.value_info[:]  # it was inferred for the open size
    return stated


def picture(path: Path, model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """Return the only input of shape [batch, 3, H, W].

    Raises:
        ValueError: there is none, or more than one (the message lists the shapes).
    """
    shapes = graph_edit.shapes(model.graph.input)
    found = [value for value, shape in zip(model.graph.input, shapes, strict=True) if len(shape) == 4 and shape[1] == 3]
    if len(found) != 1:
        raise ValueError(f"{path}: inputs {shapes} (0: not fixed); exactly one must be a picture, [batch, 3, H, W]")
    return found[0]


def refuse_other_inputs(path: Path, model: onnx.ModelProto) -> None:
    """Raise ValueError when the model takes more than one input."""
    if len(model.graph.input) != 1:
        names = ", ".join(value.name for value in model.graph.input)
        raise ValueError(f"{path}: inputs {names}; the pipelines feed only the picture")


def with_float32_ends(model: onnx.ModelProto) -> None:
    """Replace float16 inputs and outputs of a model by float32 ones of the same names, in place."""
    half = {v.name for v in (*model.graph.input, *model.graph.output) if _elem(v) == TensorProto.FLOAT16}
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"{name}/float16" if name in half else name for name in names]
    first: list[onnx.NodeProto] = []
    last: list[onnx.NodeProto] = []
    for values, casts, to in (
        (model.graph.input, first, TensorProto.FLOAT16),
        (model.graph.output, last, TensorProto.FLOAT),
    ):
        for value in values:
            if value.name in half:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
                ends = (value.name, f"{value.name}/float16")
                source, target = ends if to == TensorProto.FLOAT16 else reversed(ends)
                casts.append(helper.make_node("Cast", [source], [target], to=to))
    graph_edit.insert_first(model, first)
    model.graph.node.extend(last)


def answers(path: Path, model: onnx.ModelProto, seed: int = 0) -> dict[str, NDArray[np.generic]]:
    """Run the model on one picture of noise, pixels 0 to 255. Return its outputs by name, without the batch axis.

    They show the true shapes; those that files state are often symbolic or missing. The batch must be 1 or dynamic.

    Raises:
        ValueError: ONNX Runtime cannot run the model.
    """
    (source,) = model.graph.input
    shape = [1, *graph_edit.shapes([source])[0][1:]]
    noise = np.random.default_rng(seed).integers(0, 256, shape).astype(np.float32)
    try:
        session = graph_edit.cpu_session(model)
        names = [output.name for output in session.get_outputs()]
        values = session.run(names, {source.name: noise})
    except Exception as error:  # ONNX Runtime's errors share no narrower base
        raise ValueError(
            f"{path}: ONNX Runtime cannot run it with an input of {shape}: {error}; choose another size if the file "
            "leaves it open, or export the network again"
        ) from error
    return {name: value[0] for name, value in zip(names, values, strict=True)}


def _elem(value: onnx.ValueInfoProto) -> int:
    return int(value.type.tensor_type.elem_type)
