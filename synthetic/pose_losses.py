"""Losses of the pose network: SimCC labels, the divergence from them, and the consistency term."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_BETA = 10.0  # factor on both sides before the softmax (RTMPose's KLDiscretLoss)
_PRELIMINARY, _CONSISTENCY, _COARSE = 0.5, 0.5, 1.0  # weights of the terms beside the main one
_CELL_SIGMA = 0.6  # cells


class Rows(NamedTuple):
    """SimCC logits along both axes.

    Attributes:
        x: (B, K, x bins).
        y: (B, K, y bins).
    """

    x: Tensor
    y: Tensor


def simcc_labels(positions: Tensor, bins: int, sigma: float) -> Tensor:
    """Return Gaussians (..., bins) with peak 1 around `positions` (...), in bins."""
    offsets = torch.arange(bins, dtype=torch.float32, device=positions.device) - positions.unsqueeze(-1)
    return torch.exp(-0.5 * (offsets / sigma) ** 2)


def cell_labels(positions: Tensor, size: tuple[int, int]) -> Tensor:
    """Return distributions (M, h * w), row-major, around the positions of keypoints on the feature map.

    Args:
        positions: (M, 2) in cells; the centre of a cell is at its index plus one half.
        size: (w, h) of the feature map.
    """
    centers = (torch.arange(count, device=positions.device) + 0.5 for count in size)
    x, y = (
        (-0.5 * ((center - positions[:, axis, None]) / _CELL_SIGMA) ** 2).softmax(-1)
        for axis, center in enumerate(centers)
    )
    return (y[:, :, None] * x[:, None, :]).flatten(1)


def coarse_loss(heatmaps: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Return the mean divergence of softmax(heatmaps) from the targets, both (M, cells), with weights (M,).

    Not part of CIGPose's recipe: it trains the backbone to locate keypoints coarsely.
    """
    each = functional.kl_div(heatmaps.float().log_softmax(-1), target, reduction="none").sum(-1)
    return _COARSE * _mean(each, weights)


def as_distribution(rows: Tensor) -> Tensor:
    """Return softmax(10 rows)."""
    return (_BETA * rows.float()).softmax(-1)


def divergence(rows: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Return the mean Kullback-Leibler divergence of softmax(10 rows) from distributions, both (M, bins).

    The mean is weighted by `weights` (M,), and 0 without rows.
    """
    each = functional.kl_div((_BETA * rows.float()).log_softmax(-1), target, reduction="none").sum(-1)
    return _mean(each, weights)


def total_loss(
    final: Rows, preliminary: Rows, plain: Rows, targets: tuple[Tensor, Tensor], weights: Tensor, intervened: Tensor
) -> dict[str, Tensor]:
    """Return the terms of the loss, and their weighted sum as `loss`.

    Args:
        final: the intervened prediction.
        preliminary: the prediction that decides where to intervene. The official training leaves it untrained. Here it
            is trained, so that the intervention selects uncertain keypoints.
        plain: the prediction without intervention, for the first b <= B samples. The intervened one is pulled towards
            it where features were replaced: inference from the neighbours should agree with the original features.
        targets: label distributions (x, y), (M, bins) for the M annotated keypoints in order.
        weights: (B, K), 0 for keypoints that are not annotated; the M others are positive.
        intervened: (B, K) bool, whether the features were replaced.
    """
    part = slice(0, len(plain.x))
    both = weights[part] * intervened[part]
    replaced = both > 0
    terms = {
        "label": _sum_over_axes(final, targets, weights),
        "preliminary": _sum_over_axes(preliminary, targets, weights),
        "consistency": _sum_over_axes(
            Rows(final.x[part], final.y[part]),
            (as_distribution(plain.x.detach()[replaced]), as_distribution(plain.y.detach()[replaced])),
            both,
        ),
    }
    total = terms["label"] + _PRELIMINARY * terms["preliminary"] + _CONSISTENCY * terms["consistency"]
    return {"loss": total, **terms}


def _sum_over_axes(rows: Rows, targets: tuple[Tensor, Tensor], weights: Tensor) -> Tensor:
    where = weights > 0
    kept = weights[where]
    return divergence(rows.x[where], targets[0], kept) + divergence(rows.y[where], targets[1], kept)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1e-6)
