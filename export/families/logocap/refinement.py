"""Maps -> poses: the centres, the first pose of each person, and the move of each keypoint inside its window.

Positions are pixels of the network's input. All of it works in float32 and with any size of the maps, and is what ONNX
files hold.

Source: the official code's test, github.com/cherubicXN/logocap commit 39d104f.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ensemble.keypoints import keypoint_set
from export.families.hrnet.variants import STRIDE
from export.families.logocap.network import FILTER

CANDIDATES = 30
CONFIDENT = 0.01  # of a centre; less confident candidates get no filters, and scores of 0
_NEGLIGIBLE = 1e-4
_SHARES = (0.75, 0.25)  # of the highest value and of the second highest in a keypoint's position and score


class Centers(NamedTuple):
    """The candidates, best first.

    Attributes:
        points: (30, 2) x, y.
        scores: (30,).
        confident: (P,) rows of those that get filters; the first one always does.
    """

    points: Tensor
    scores: Tensor
    confident: Tensor


def find_centers(center_map: Tensor) -> Centers:
    """Return the highest peaks of a map (H, W). Peaks of equal height may come in any order."""
    heights = center_map.clamp(min=0)
    highest = functional.max_pool2d(heights[None, None], 3, 1, 1)[0, 0]
    peaks = torch.where(heights == highest, heights, torch.zeros_like(heights))
    scores, cells = peaks.flatten().topk(CANDIDATES)
    width = torch._shape_as_tensor(center_map)[1]
    points = torch.stack((cells % width, torch.div(cells, width, rounding_mode="trunc")), 1)
    first = torch.arange(CANDIDATES, device=scores.device) == 0
    confident = torch.nonzero((scores >= CONFIDENT) | first).squeeze(1)
    return Centers(points.to(scores.dtype), scores, confident)


def first_poses(offsets: Tensor, centers: Tensor) -> Tensor:
    """Return the poses (P, K, 2) that the offsets (2 K, h, w) state at the centres (P, 2).

    The centre counts with its fraction of a cell, the offsets are those of its whole cell.
    """
    cells = centers / STRIDE
    column, row = cells.to(torch.int64).unbind(1)
    index = row * torch._shape_as_tensor(offsets)[2] + column
    stated = offsets.flatten(1).index_select(1, index).T.reshape(-1, offsets.shape[0] // 2, 2)
    return (cells[:, None] - stated) * STRIDE


def local_features(embedding: Tensor, poses: Tensor, keypoint_set_name: str) -> Tensor:
    """Return the embedding on a grid around each keypoint: (P, K, C, 11, 11).

    Args:
        embedding: (C, h, w).
        poses: (P, K, 2).
        keypoint_set_name: its tolerances give the grid's step: one pixel for the strictest keypoint.
    """
    sigmas = poses.new_tensor(keypoint_set(keypoint_set_name).sigmas)
    steps = (sigmas / sigmas.min())[:, None] * _range(FILTER // 2, poses)
    x, y = ((poses[..., axis, None] + steps) / STRIDE for axis in range(2))
    return sample(embedding.flatten(1), x, y, torch._shape_as_tensor(embedding)[1:]).permute(1, 2, 0, 3, 4)


def windows(heatmaps: Tensor, poses: Tensor, reach: int, spread: float) -> Tensor:
    """Return each keypoint's own heat map around it, damped with the distance: (P, K, side, side), a pixel a cell.

    Args:
        heatmaps: (K, H, W) at the size of the input.
        poses: (P, K, 2).
        reach: the side is twice as much plus one.
        spread: standard deviation of the damping.
    """
    steps = _range(reach, poses)
    x, y = (poses[..., axis, None] + steps for axis in range(2))
    size = torch._shape_as_tensor(heatmaps)
    first = torch.arange(poses.shape[1], device=poses.device) * (size[1] * size[2])
    found = sample(heatmaps.reshape(1, -1), x, y, size[1:], first[:, None, None])[0]
    damping = torch.exp(-(steps[:, None] ** 2 + steps**2) / (2 * spread**2))
    return found * torch.where(damping < _NEGLIGIBLE, torch.zeros_like(damping), damping)


def adapted(found: Tensor, filters: Tensor, groups: int) -> Tensor:
    """Return each window (P, K, side, side), convolved with its own filter (P, K, 11, 11).

    `groups` is P K. In an ONNX graph it is a constant, so P is fixed there.
    """
    kernels = filters.flip((2, 3)).reshape(groups, 1, FILTER, FILTER) / FILTER**2
    stacked = found.reshape(1, groups, *found.shape[2:])
    return functional.conv2d(stacked, kernels, padding=FILTER // 2, groups=groups).reshape(found.shape)


def decoded(found: Tensor) -> tuple[Tensor, Tensor]:
    """Return moves (P, K, 2) and heights (P, K) of the two highest values of each window (P, K, side, side).

    Nothing moves where all is 0: the official code then answers whatever its search found first.
    """
    side = found.shape[3]
    values, cells = found.flatten(2).topk(2)
    shares = values.new_tensor(_SHARES)
    x = cells % side
    moves = torch.stack((x, torch.div(cells - x, side, rounding_mode="trunc")), 3) - side // 2
    heights = (values * shares).sum(2)
    return (moves.to(values.dtype) * shares[:, None]).sum(2) * (heights != 0)[..., None], heights


def sample(flat: Tensor, x: Tensor, y: Tensor, size: Tensor, first: Tensor | int = 0) -> Tensor:
    """Return maps on grids, bilinearly: (C, P, K, n, n).

    At the left and upper border the border's values go on. At the right and lower border they fall to 0 at the last
    cell and rise again to the border's value one cell beyond, as in the official code; `grid_sample` does not.

    Args:
        flat: (C, cells) maps, row after row.
        x: (P, K, n) columns of the grids.
        y: (P, K, n) rows of the grids.
        size: (h, w) of a map.
        first: cell with which the map of each keypoint begins, (K, 1, 1).
    """
    columns, rows = _neighbours(x, size[1]), _neighbours(y, size[0])
    total: Tensor | None = None
    for row, row_weight in rows:
        for column, column_weight in columns:
            index = first + row[..., :, None] * size[1] + column[..., None, :]
            weight = row_weight[..., :, None] * column_weight[..., None, :]
            part = flat.index_select(1, index.flatten()).reshape(-1, *index.shape) * weight
            total = part if total is None else total + part
    assert total is not None
    return total


def _neighbours(positions: Tensor, size: Tensor) -> Sequence[tuple[Tensor, Tensor]]:
    """Return the cells before and after the positions, with their weights."""
    last = (size - 1).to(positions.dtype)
    before = torch.minimum(positions.floor().clamp(min=0), last)
    after = torch.minimum(before + 1, last)
    pairs = (before, after - positions), (after, positions - before)
    return [(cell.to(torch.int64), weight.clamp(0, 1)) for cell, weight in pairs]


def _range(reach: int, like: Tensor) -> Tensor:
    return torch.arange(-reach, reach + 1, device=like.device).to(like.dtype)
