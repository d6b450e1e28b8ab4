"""The network from picture to poses, with the flip test that the official test always does, and its float16 form."""
# mypy: disallow-subclassing-any=False

import copy
import re
from dataclasses import dataclass
from typing import NamedTuple

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from ensemble.keypoints import keypoint_set
from export.families.hrnet.variants import STRIDE
from export.families.logocap import refinement
from export.families.logocap.network import LogoCap, Maps
from export.families.logocap.refinement import CANDIDATES, Centers

_OF_FILTERS = re.compile(r"/?joints_mlp")  # in the names of weights and of nodes


class People(NamedTuple):
    """The candidates of one picture, best centre first; what the official code answers before it maps poses back.

    Attributes:
        keypoints: (30, K, 2) x, y in pixels of the input.
        keypoint_scores: (30, K).
        person_scores: (30,), the means of the keypoints' scores.
        center_scores: (30,). Where they are below `CONFIDENT`, all other scores are 0, but for the first candidate.
    """

    keypoints: Tensor
    keypoint_scores: Tensor
    person_scores: Tensor
    center_scores: Tensor


@dataclass(frozen=True)
class Stages:
    """Everything that is computed on the way from maps to people.

    Attributes:
        heatmaps: (K + 1, H, W) at the size of the input.
        centers: the candidates.
        poses: (30, K, 2), before keypoints are moved.
        filters: (P, K, 11, 11) of the confident candidates, before they are clamped.
        adapted: (30, K, side, side), the windows after the filters.
        people: the result.
    """

    heatmaps: Tensor
    centers: Centers
    poses: Tensor
    filters: Tensor
    adapted: Tensor
    people: People


class FlipTested(nn.Module):
    """Normalised picture (1, 3, H, W) -> `People`, with maps averaged over the picture and its mirror image."""

    def __init__(self, network: LogoCap, dense: nn.Module | None = None) -> None:
        """Wrap a network; `dense` computes the maps in its place."""
        super().__init__()
        self.network = network
        self.dense = dense or network
        partners = torch.tensor(keypoint_set(network.variant.keypoint_set).flip_indices)
        centers_stay = torch.tensor([len(partners)])
        self.register_buffer("heat_channels", torch.cat((partners, centers_stay)), persistent=False)
        channels = torch.stack((2 * partners, 2 * partners + 1), 1).flatten()
        self.register_buffer("offset_channels", channels, persistent=False)
        signs = torch.tensor([-1.0, 1.0]).repeat(len(partners)).reshape(-1, 1, 1)
        self.register_buffer("offset_signs", signs, persistent=False)
        self.train(network.training)

    def forward(self, picture: Tensor) -> People:
        """Predict the people of one picture."""
        return self.refine(self.merged(picture)).people

    def merged(self, picture: Tensor) -> Maps:
        """Return the averaged maps, without the batch axis. The embedding is that of the picture itself."""
        heatmaps, offsets, embedding = self.dense(torch.cat((picture, picture.flip(3))))
        heat = heatmaps[1].flip(2).index_select(0, self.heat_channels)
        moves = offsets[1].flip(2).index_select(0, self.offset_channels) * self.offset_signs
        return Maps((heatmaps[0] + heat) / 2, (offsets[0] + moves) / 2, embedding[0])

    def refine(self, maps: Maps) -> Stages:
        """Return the people and what leads to them."""
        variant, count = self.network.variant, self.network.variant.keypoints
        heatmaps = functional.interpolate(maps.heatmaps[None], scale_factor=STRIDE, mode="bilinear")[0]
        centers = refinement.find_centers(heatmaps[count])
        poses = refinement.first_poses(maps.offsets, centers.points)
        near = refinement.local_features(maps.embedding, poses.index_select(0, centers.confident), variant.keypoint_set)
        filters = self.network.filters(near)
        padded = torch.cat((filters.clamp(0, 1), filters.new_zeros(CANDIDATES, *filters.shape[1:])))[:CANDIDATES]
        found = refinement.windows(heatmaps[:count], poses, variant.reach, variant.spread)
        adapted = refinement.adapted(found, padded, CANDIDATES * count)
        moves, heights = refinement.decoded(adapted)
        scores = heights * centers.scores[:, None]
        people = People(poses + moves, scores, scores.mean(1), centers.scores)
        return Stages(heatmaps, centers, poses, filters, adapted, people)


class HalfDense(nn.Module):
    """The backbone and its heads in float16. Filters and all that follows stay in float32.

    Of the 9409 values of a window the two highest give a keypoint's position. Neighbouring values differ by less than
    float16 can tell, so in float16 whole keypoints would jump, and it is a sixth of the work.
    """

    def __init__(self, network: LogoCap) -> None:
        """Copy the dense part of `network` to float16."""
        super().__init__()
        self.network = copy.deepcopy(network).half()

    def forward(self, pictures: Tensor) -> Maps:
        """Predict float32 maps, shapes as those of the network."""
        return Maps(*(each.float() for each in self.network(pictures.half())))


def filter_weights(model: onnx.ModelProto) -> set[str]:
    """Return the names of the weights in an export that `half_weights` must leave alone."""
    used = {name for node in model.graph.node if _OF_FILTERS.search(node.name) for name in node.input}
    return used & {tensor.name for tensor in model.graph.initializer}
