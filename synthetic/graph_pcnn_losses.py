"""Training targets and losses of Graph-PCNN: heat maps, guided points of three kinds, and the second stage.

Source: Graph-PCNN, arXiv 2007.10599; heat maps as in the official baselines. All coordinates are in cells of the heat
maps.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from export.families.graph_pcnn.network import GraphPcnn
from export.families.graph_pcnn.refinement import sample

REGRESSION = 16.0  # weight of the offset loss beside the classification loss
HEAT = 20.0  # weight of the heat maps beside stage 2, an addition of this project: see `heatmap_loss`
POSITIVE, RELIABLE = 3.0, 2.0  # radii in sigmas, around the true keypoint, of positive points and of reliable ones


class Guided(NamedTuple):
    """Guided points, N for each keypoint. The nth points of all keypoints form the nth graph.

    Attributes:
        points: (B, N, K, 2) coordinates.
        heat: (B, N, K) values of the heat maps there, without gradient.
    """

    points: Tensor
    heat: Tensor


def heatmap_targets(truth: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """Return Gaussians (B, K, h, w) of height 1 around the cells nearest to `truth` (B, K, 2), cut off at 3 sigma.

    Source: the official `generate_target`, which rounds to whole cells.
    """
    centers = torch.floor(truth + 0.5)
    x, y = (
        torch.arange(count, dtype=torch.float32, device=truth.device) - centers[..., axis, None]
        for axis, count in enumerate(size)
    )
    columns, rows = (torch.exp(-(each**2) / (2 * sigma**2)) * (each.abs() <= 3 * sigma) for each in (x, y))
    return rows[..., :, None] * columns[..., None, :]


def heatmap_loss(heatmaps: Tensor, targets: Tensor, weights: Tensor, sigma: float) -> Tensor:
    """Return half the squared error of the annotated maps, divided by a target's own sum of squares.

    The official loss is the mean over all cells, which differs by a constant factor, and the paper adds it to the loss
    of stage 2 without a weight. It is then some thousandths beside tens. The layers that both stages share would hardly
    learn for stage 1 in a short training from random weights. The weight `HEAT` brings both losses to the same size.

    Args:
        heatmaps: (B, K, h, w).
        targets: (B, K, h, w).
        weights: (B, K), 0 for keypoints that are not annotated.
        sigma: standard deviation of the targets, in cells.
    """
    squares = (weights[..., None, None] * (heatmaps - targets) ** 2).sum()
    return 0.5 * squares / (math.pi * sigma**2) / max(1, weights.numel())


def random_points(
    rng: np.random.Generator, truth: NDArray[np.float32], size: tuple[int, int], sigma: float, count: int
) -> NDArray[np.float32]:
    """Return points (K, 2 count, 2): `count` within 3 sigma of the truth (K, 2), and `count` elsewhere on the map."""
    keypoints, radius, last = len(truth), POSITIVE * sigma, np.array(size) - 1
    angle, distance = rng.uniform(0, 2 * np.pi, (keypoints, count)), radius * np.sqrt(rng.random((keypoints, count)))
    near = truth[:, None] + distance[..., None] * np.stack((np.cos(angle), np.sin(angle)), -1)
    tries = rng.random((keypoints, count, 8, 2)) * last
    outside = np.linalg.norm(tries - truth[:, None, None], axis=-1) >= radius
    far = np.take_along_axis(tries, outside.argmax(-1)[..., None, None], axis=2)[:, :, 0]
    return np.asarray(np.clip(np.concatenate((near, far), axis=1), 0, last), np.float32)


def guided(heatmaps: Tensor, drawn: Tensor, order: Tensor) -> Guided:
    """Return the drawn points and the highest cells of every heat map, shuffled within each keypoint.

    Args:
        heatmaps: (B, K, h, w).
        drawn: (B, K, 2 count, 2), see `random_points`.
        order: (B, K, 3 count) random numbers, by which the points are sorted.
    """
    heatmaps = heatmaps.detach().float()
    batch, keypoints, height, width = heatmaps.shape
    highest = heatmaps.flatten(2).topk(order.shape[2] - drawn.shape[2]).indices
    cells = torch.stack((highest % width, highest // width), -1).float()
    shuffled = order.argsort(2)[..., None].expand(-1, -1, -1, 2)
    points = torch.cat((drawn, cells), 2).gather(2, shuffled)
    maps = heatmaps.reshape(batch * keypoints, 1, height, width)
    heat = sample(maps, points.flatten(0, 1), (width, height)).reshape(batch, keypoints, -1)
    return Guided(points.transpose(1, 2), heat.transpose(1, 2))


def stage2_loss(
    network: GraphPcnn, features: Tensor, chosen: Guided, truth: Tensor, weights: Tensor
) -> dict[str, Tensor]:
    """Return the terms `class` and `offset`, each a mean over the annotated keypoints.

    Args:
        network: the network, whose graph and heads are run.
        features: (B, C, h, w) features of its second branch.
        chosen: the guided points.
        truth: (B, K, 2) true coordinates.
        weights: (B, K), 0 for keypoints that are not annotated.
    """
    sigma, (batch, graphs, keypoints, _) = network.variant.baseline.sigma, chosen.points.shape
    to_truth = truth[:, None] - chosen.points
    distance = to_truth.norm(dim=-1)
    reliable = (distance < RELIABLE * sigma) & (weights[:, None] > 0)
    sampled = sample(features.float(), chosen.points.flatten(1, 2), network.size)
    neighbours = network.neighbour_weights(chosen.heat, reliable)
    offsets, logits = network.refine(sampled.reshape(batch * graphs, keypoints, -1), neighbours.flatten(0, 1))
    positive = (distance < POSITIVE * sigma).float()
    nearness = torch.exp(-(distance**2) / (2 * sigma**2))
    surprise = functional.cross_entropy(logits.flatten(0, 1), positive.long().flatten(), reduction="none")
    surprise = surprise.reshape(distance.shape)
    error = (offsets.reshape(to_truth.shape) - to_truth).abs().sum(-1)
    of_class = 0.5 * (_mean(nearness * surprise, positive) + _mean(surprise, 1 - positive))
    total = weights.sum().clamp(min=1e-6)
    return {
        "class": (weights * of_class).sum() / total,
        "offset": (weights * _mean(error, positive)).sum() / total,
    }


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean (B, K) of the chosen among the N values (B, N, K) of each keypoint; 0 where there are none."""
    return (values * chosen).sum(1) / chosen.sum(1).clamp(min=1)
