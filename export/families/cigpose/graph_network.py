"""The hierarchical graph network of CIGPose's head: keypoints exchange messages, groups of keypoints gate them.

Every graph is a constant, so messages are gathered with constant indices along the keypoint axis and summed by one
product with an incidence matrix. The result equals that of the official loops and scatters, and the graph exports to
ONNX with a dynamic batch. Source: CIGPose official repository, commit b7444d8 (names of modules, formulas).
"""
# mypy: disallow-subclassing-any=False

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.families.cigpose.graphs import Graph


class EdgeConv(nn.Module):
    """Sum over a node's edges (i, j) of SiLU(BN(W [x_i ; x_j - x_i]))."""

    def __init__(self, channels: int, edges: list[tuple[int, int]], nodes: int) -> None:
        """Build the layer for a directed graph; an edge is (receiver, sender)."""
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(2 * channels, channels, 1, bias=False), nn.BatchNorm1d(channels))
        receivers, senders = torch.tensor(edges).unbind(1)
        self.register_buffer("receivers", receivers, persistent=False)
        self.register_buffer("senders", senders, persistent=False)
        incidence = functional.one_hot(receivers, nodes).T.float()
        self.register_buffer("incidence", incidence, persistent=False)  # (nodes, edges)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, nodes, channels).

        With W = [A | D], W [x_i ; x_j - x_i] = (A - D) x_i + D x_j: two products over the nodes, none over the edges.
        """
        convolution, norm = self.conv
        weight = convolution.weight.squeeze(3).squeeze(2)
        own, difference = weight[:, : convolution.out_channels], weight[:, convolution.out_channels :]
        to_receiver = functional.linear(x, own - difference)
        from_sender = functional.linear(x, difference)
        messages = to_receiver[:, self.receivers] + from_sender[:, self.senders]
        return self.incidence @ functional.silu(_normalize(norm, messages))


class GroupAttention(nn.Module):
    """Gate every keypoint by the features of its groups, after all groups have exchanged messages."""

    def __init__(self, channels: int, keypoints: int, groups: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        narrow = channels // 4
        self.conv_down_linear = nn.Linear(channels, narrow)
        self.bn_down = nn.BatchNorm1d(narrow)
        group_pairs = list(itertools.permutations(range(len(groups)), 2))
        self.edge_conv_groups = EdgeConv(narrow, group_pairs, len(groups))
        self.aggregate_linear = nn.Linear(narrow, channels)
        members = torch.zeros(len(groups), keypoints)
        for row, group in zip(members, groups, strict=True):
            row[list(group)] = 1.0
        self.register_buffer("mean_of_group", members / members.sum(1, keepdim=True), persistent=False)  # (G, K)
        self.register_buffer("mean_over_groups", (members / members.sum(0)).T.contiguous(), persistent=False)  # (K, G)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, K, channels)."""
        narrow = functional.silu(_normalize(self.bn_down, self.conv_down_linear(x)))
        groups = self.edge_conv_groups(self.mean_of_group @ narrow)
        return x * (self.mean_over_groups @ torch.sigmoid(self.aggregate_linear(groups)))


class GraphNetwork(nn.Module):
    """The layers of message passing and group attention, each with a shortcut."""

    def __init__(self, channels: int, keypoints: int, layers: int, graph: Graph) -> None:
        super().__init__()
        edges = [edge for a, b in graph.connections for edge in ((a, b), (b, a))]
        self.conv_input = nn.Linear(channels, channels)
        self.bn_input = nn.BatchNorm1d(channels)
        self.edgeconv_layers = nn.ModuleList(EdgeConv(channels, edges, keypoints) for _ in range(layers))
        self.attention_modules = nn.ModuleList(GroupAttention(channels, keypoints, graph.groups) for _ in range(layers))
        self.bn_layers = nn.ModuleList(nn.BatchNorm1d(channels) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, K, channels)."""
        x = functional.silu(_normalize(self.bn_input, self.conv_input(x)))
        for edge_conv, attention, norm in zip(
            self.edgeconv_layers, self.attention_modules, self.bn_layers, strict=True
        ):
            x = functional.silu(attention(_normalize(norm, edge_conv(x))) + x)
        return x


def _normalize(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Apply a batch normalisation to the last axis of (..., channels).

    In eval mode it is one multiplication and one addition; the ONNX exporter folds their operands to constants.
    """
    if norm.training:
        return norm(x.reshape(-1, x.shape[-1])).reshape(x.shape)
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return x * scale + (norm.bias - norm.running_mean * scale)
