"""A PyTorch module in, its ONNX graph out: batch axis dynamic."""

import io
import warnings
from collections.abc import Mapping, Sequence

import onnx
import torch
from torch import Tensor, nn

from export import graph_edit

OPSET = 17


def trace(module: nn.Module, inputs: Mapping[str, Tensor], outputs: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    """Return the ONNX graph of a module.

    Args:
        module: in eval mode.
        inputs: an example of two items for each input.
        outputs: name -> shape without the batch axis.

    Raises:
        ValueError: the module would bake values of the example into the graph (the message says where).
    """
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")  # also PyTorch's advice to use its other exporter
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            file,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: {0: graph_edit.BATCH_AXIS} for name in (*inputs, *outputs)},
            opset_version=OPSET,
            dynamo=False,
        )
    baked = [str(warning.message) for warning in caught if warning.category is torch.jit.TracerWarning]
    if baked:
        raise ValueError(f"the graph would hold for one input only: {'; '.join(baked)}")
    model = onnx.load_from_string(file.getvalue())
    for value, shape in zip(model.graph.output, outputs.values(), strict=True):  # the exporter may not have inferred it
        for dim, size in zip(value.type.tensor_type.shape.dim[1:], shape, strict=True):
            dim.dim_value = size
    return model
