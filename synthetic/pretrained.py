"""The backbone of the trained pose network, read back from its ONNX file."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from torch import Tensor

from export import graph_edit
from export.families.cigpose.backbone import ChannelAttention, ConvModule, CspNext


def load_backbone(backbone: CspNext, path: Path) -> None:
    """Give a backbone the weights of a CIGPose file, and freeze it in eval mode.

    The file has normalisation folded into the convolutions, so the backbone's own passes values on, plus a bias.

    Raises:
        RuntimeError: the file's backbone has another size.
    """
    convolutions = _convolutions(graph_edit.load(path))
    state = dict(backbone.state_dict())
    for name, part in backbone.named_modules():
        if isinstance(part, ConvModule):
            state[f"{name}.conv.weight"], state[f"{name}.bn.bias"] = convolutions[f"backbone.{name}.conv"]
            state[f"{name}.bn.weight"] = torch.ones(part.bn.num_features)
            state[f"{name}.bn.running_mean"] = torch.zeros(part.bn.num_features)
            state[f"{name}.bn.running_var"] = torch.full((part.bn.num_features,), 1 - part.bn.eps)
        elif isinstance(part, ChannelAttention):
            state[f"{name}.fc.weight"], state[f"{name}.fc.bias"] = convolutions[f"backbone.{name}.fc"]
    backbone.load_state_dict(state)
    backbone.requires_grad_(False).eval()


def _convolutions(model: ModelProto) -> dict[str, tuple[Tensor, Tensor]]:
    """Return weight and bias of every convolution, by the name of its module."""
    arrays = {each.name.removesuffix("/float16"): numpy_helper.to_array(each) for each in model.graph.initializer}
    return {
        _module_of(node.name): (_float32(arrays[node.input[1]]), _float32(arrays[node.input[2]]))
        for node in model.graph.node
        if node.op_type == "Conv"
    }


def _module_of(node: str) -> str:
    """Return the module of a node that PyTorch's exporter named `/a/a.0/conv/Conv`: `a.0.conv`."""
    parts: list[str] = []
    for scope in node.strip("/").split("/")[:-1]:
        if parts and scope.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(scope)
    return ".".join(parts)


def _float32(values: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
