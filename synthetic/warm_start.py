"""Train on from an exported ONNX file, where no checkpoint is left: put its constants back into the network.

An export has no batch normalisation any more, only what is left of it: a factor and an offset for each channel. Each
normalisation is set to the statistics of example input and then to undo itself, up to that factor and that offset.
The network computes what the file computes, and training, which normalises by its batches, starts close to it.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from export import graph_edit
from export.families.cigpose.graph_network import EdgeConv
from export.families.cigpose.head import CigHead
from export.families.cigpose.network import CigPose
from synthetic.yolox import SmallYolox

_Fold = tuple[Tensor, Tensor]  # factor and offset that an export keeps of a normalisation
_Folds = dict[nn.Module, _Fold]


class Constants:
    """The constants of an export: those that kept their names, the others by operator in the order of use."""

    def __init__(self, path: Path) -> None:
        self.named: dict[str, Tensor] = {}
        rest = defaultdict(list)
        for tensor in graph_edit.load(path).graph.initializer:
            name, values = tensor.name.removesuffix("/float16"), numpy_helper.to_array(tensor).astype(np.float32)
            if name.startswith("onnx::"):
                rest[name.removeprefix("onnx::").split("_")[0]].append(torch.from_numpy(values))
            else:
                self.named[name] = torch.from_numpy(values)
        self._rest: dict[str, Iterator[Tensor]] = {operator: iter(values) for operator, values in rest.items()}

    def next(self, operator: str) -> Tensor:
        """Return the next constant of the operator."""
        return next(self._rest[operator])


def start_pose(pose: CigPose, path: Path, crops: Tensor) -> None:
    """Give the pose network the function of an export of `synthetic.network_files.export_pose`.

    Args:
        pose: to be trained.
        path: of the export.
        crops: (B, 3, H, W) float32, normalised; what the statistics are taken from.
    """
    constants = Constants(path)
    with torch.no_grad():
        pose.load_state_dict(constants.named, strict=False)
        _calibrate(pose, _folded_convolutions(pose.backbone, crops, constants) | _head(pose.head, constants), crops)


def start_detector(network: SmallYolox, path: Path, images: Tensor) -> None:
    """Give the detector the function of an export of `synthetic.network_files.export_detector`.

    Args:
        network: to be trained.
        path: of the export.
        images: (B, 3, S, S) float32; what the statistics are taken from.
    """
    constants = Constants(path)
    with torch.no_grad():
        network.load_state_dict(constants.named, strict=False)
        _calibrate(network, _folded_convolutions(network, images, constants), images)


def _folded_convolutions(network: nn.Module, images: Tensor, constants: Constants) -> _Folds:
    """Set the convolutions that a normalisation follows, in the order of the forward pass."""
    used: dict[nn.Module, None] = {}
    hooks = [
        module.register_forward_hook(lambda module, _inputs, _output: used.setdefault(module))
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d) or (isinstance(module, nn.Conv2d) and module.bias is None)
    ]
    network(images[:2])
    for hook in hooks:
        hook.remove()
    order, folds = list(used), _Folds()
    for convolution, norm in zip(order[::2], order[1::2], strict=True):
        convolution.weight.copy_(constants.next("Conv"))
        folds[norm] = (torch.ones(norm.num_features), constants.next("Conv"))
    return folds


def _head(head: CigHead, constants: Constants) -> _Folds:
    """Set what has no name of its own in the head, in the order of its forward pass."""
    for row in range(2):
        head.gau.gamma[row] = constants.next("Mul")
        head.gau.beta[row] = constants.next("Add")
    folds: _Folds = {}

    def linear(*layers: nn.Linear) -> None:
        for layer in layers:
            layer.weight.copy_(constants.next("MatMul").T)

    def norm(layer: nn.BatchNorm1d) -> None:
        folds[layer] = (constants.next("Mul"), constants.next("Add"))

    def edges(layer: EdgeConv) -> None:
        own, difference = constants.next("MatMul").T, constants.next("MatMul").T
        layer.conv[0].weight.copy_(torch.cat((own + difference, difference), 1)[:, :, None, None])
        norm(layer.conv[1])

    gcn = head.gcn
    linear(head.mlp_pre_gau[1], head.gau.uv, head.gau.o, head.initial_pred_x, head.initial_pred_y, gcn.conv_input)
    norm(gcn.bn_input)
    for edge_conv, attention, norm_ in zip(gcn.edgeconv_layers, gcn.attention_modules, gcn.bn_layers, strict=True):
        edges(edge_conv)
        norm(norm_)
        linear(attention.conv_down_linear)
        norm(attention.bn_down)
        edges(attention.edge_conv_groups)
        linear(attention.aggregate_linear)
    linear(head.cls_gx, head.cls_gy)
    return folds


def _calibrate(network: nn.Module, folds: _Folds, images: Tensor) -> None:
    """Set each normalisation, in the order of use, so that it multiplies by its factor and adds its offset."""

    def calibrate(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        factor, offset = folds[norm]
        x = inputs[0].transpose(0, 1).flatten(1)
        mean, variance = x.mean(1), x.var(1, unbiased=False)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(factor * torch.sqrt(variance + norm.eps))
        norm.bias.copy_(offset + factor * mean)
        norm.eval()

    training = network.training
    network.train()
    hooks = [norm.register_forward_pre_hook(calibrate) for norm in folds]
    network(images)
    for hook in hooks:
        hook.remove()
    network.train(training)
