"""What LOGO-CAP is trained on: heat maps, offsets, filters and the windows after the filters.

Source: the paper (CVPR 2022) for what is learned, DEKR (CVPR 2021), on which it builds, for heat maps and offsets. The
weights of the terms, and the targets' exact places, are ours: a short training from random weights has others to
balance than the official one. Positions are pixels of the network's input; maps are at a quarter of its size.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ensemble.keypoints import keypoint_set
from export.families.hrnet.variants import STRIDE
from export.families.logocap import refinement
from export.families.logocap.network import FILTER, LogoCap, Maps

SIGMA, CENTER_SIGMA = 1.5, 2.0  # cells: width of the Gaussians of keypoints and of centres
_RADIUS = 2.5  # cells around a centre that learn its offsets
_CORNER = 0.5 - 0.5 / STRIDE  # cells between a cell's first pixel and its middle
_OFFSETS = 8.0  # weight of the offsets
_MOST_PEOPLE = 12  # of a batch whose filters are learned
_SMOOTH = 1 / 9  # cells: error from which on offsets count linearly, as in DEKR
_NOTHING = 1e-6


class Truth(NamedTuple):
    """The people of a batch.

    Attributes:
        points: (B, P, K, 2) pixels.
        weights: (B, P, K), 1 for annotated points inside the picture; all 0 in rows without a person.
    """

    points: Tensor
    weights: Tensor

    @property
    def centers(self) -> Tensor:
        """(B, P, 2): the means of the annotated points."""
        return (self.points * self.weights[..., None]).sum(2) / self.weights.sum(2).clamp(min=1)[..., None]

    @property
    def diagonals(self) -> Tensor:
        """(B, P): of the annotated points' extent, in pixels."""
        outside = (1 - self.weights)[..., None] * 1e6
        extent = (self.points - outside).amax(2) - (self.points + outside).amin(2)
        return extent.clamp(min=1).norm(dim=-1)

    @property
    def present(self) -> Tensor:
        """(B, P): whether the row is a person."""
        return self.weights.sum(2) > 0


def heat_loss(heatmaps: Tensor, truth: Truth) -> Tensor:
    """Return the squared error of the maps (B, K + 1, h, w), as a share of the targets' own squares."""
    size = heatmaps.shape[3], heatmaps.shape[2]
    targets = gaussians(truth.points, truth.weights, size, SIGMA).amax(1)
    centers = gaussians(truth.centers[:, :, None], truth.present[..., None].float(), size, CENTER_SIGMA).amax(1)
    both = torch.cat((targets, centers), 1)
    return ((heatmaps - both) ** 2).sum() / (both**2).sum().clamp(min=1)


def gaussians(points: Tensor, weights: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """Return one map (B, P, K, h, w) for each point (B, P, K, 2) in pixels, of height `weights`, so wide as `sigma`.

    A map is enlarged bilinearly before its peaks are taken, so that a cell's middle stands for its middle pixel.
    """
    cells = (points - _CORNER * STRIDE) / STRIDE
    x, y = (
        torch.arange(count, dtype=points.dtype, device=points.device) - cells[..., axis, None]
        for axis, count in enumerate(size)
    )
    columns, rows = (torch.exp(-(each**2) / (2 * sigma**2)) for each in (x, y))
    return weights[..., None, None] * rows[..., :, None] * columns[..., None, :]


def offset_loss(offsets: Tensor, truth: Truth) -> Tensor:
    """Return the error of the offsets (B, 2 K, h, w) around each centre, as a share of the person's size.

    Where two people's centres are close, the smaller person counts.
    """
    batch, _, height, width = offsets.shape
    cells = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), -1).to(
        offsets
    )  # (h, w, 2)
    at = truth.centers[:, :, None, None] / STRIDE - _CORNER
    near = ((cells - at).norm(dim=-1) <= _RADIUS) & truth.present[:, :, None, None]  # (B, P, h, w)
    sizes = torch.where(near, truth.diagonals[:, :, None, None], torch.inf)
    smallest, person = sizes.min(1)
    where = torch.isfinite(smallest)  # (B, h, w)
    index = torch.arange(batch, device=offsets.device)[:, None, None].expand_as(person)[where]
    points, weights = truth.points[index, person[where]], truth.weights[index, person[where]]
    own = cells.expand(batch, -1, -1, -1)[where] + _CORNER
    found = offsets.permute(0, 2, 3, 1)[where].unflatten(1, (-1, 2))
    error = functional.smooth_l1_loss(found, own[:, None] - points / STRIDE, reduction="none", beta=_SMOOTH).sum(-1)
    share = error * STRIDE / truth.diagonals[index, person[where]][:, None]
    return (share * weights).sum() / weights.sum().clamp(min=1)


def adaptation_losses(network: LogoCap, maps: Maps, truth: Truth, noise: Tensor) -> dict[str, Tensor]:
    """Return the losses of the filters and of the windows after them, over some of the people.

    Filters learn, at each cell of their grid, how similar a keypoint there is to the true one, as COCO measures it. The
    windows learn a Gaussian at the true keypoint. First poses are the network's own for one half of the people, the
    truth with noise for the other half, which is of use before offsets are learned.

    Args:
        network: predicts the filters.
        maps: of the batch.
        truth: likewise.
        noise: (B, P, K, 2), normal, in shares of a person's size.
    """
    variant = network.variant
    heat = functional.interpolate(maps.heatmaps[:, :-1], scale_factor=STRIDE, mode="bilinear").unbind()
    embedding = maps.embedding.unbind()  # indices instead would each make gradients of the whole batch
    features, windows, poses = [], [], []
    chosen = torch.nonzero(truth.present)[:_MOST_PEOPLE]
    for picture in chosen[:, 0].unique().tolist():
        rows = chosen[chosen[:, 0] == picture, 1]
        first = _first_poses(maps.offsets[picture], truth, noise, picture, rows)
        poses.append(first)
        features.append(refinement.local_features(embedding[picture], first, variant.keypoint_set))
        windows.append(refinement.windows(heat[picture], first, variant.reach, variant.spread))
    if not poses:
        return {"filter": maps.embedding.sum() * 0, "window": maps.heatmaps.sum() * 0}
    first, people = torch.cat(poses), tuple(chosen.unbind(1))
    filters, found = network.filters(torch.cat(features)), torch.cat(windows)
    to_truth = truth.points[people] - first
    return {
        "filter": _filter_loss(filters, to_truth, truth, people, variant.keypoint_set),
        "window": _window_loss(filters.clamp(0, 1), found, to_truth, truth.weights[people]),
    }


def _first_poses(offsets: Tensor, truth: Truth, noise: Tensor, picture: int, rows: Tensor) -> Tensor:
    height, width = (STRIDE * side for side in offsets.shape[1:])
    centers = truth.centers[picture, rows] + 20 * noise[picture, rows, 0]
    inside = centers.new_tensor((width - 1, height - 1))
    own = refinement.first_poses(offsets.detach(), torch.minimum(centers.round().clamp(min=0), inside))
    near = truth.points[picture, rows] + noise[picture, rows] * truth.diagonals[picture, rows, None, None]
    return torch.where((rows % 2 == 0)[:, None, None], own, near)


def _filter_loss(
    filters: Tensor, to_truth: Tensor, truth: Truth, people: tuple[Tensor, ...], keypoint_set_name: str
) -> Tensor:
    sigmas = filters.new_tensor(keypoint_set(keypoint_set_name).sigmas)
    steps = torch.arange(-(FILTER // 2), FILTER // 2 + 1, device=filters.device)
    grid = (sigmas / sigmas.min())[:, None] * steps  # (K, 11) pixels
    x, y = (grid - to_truth[..., axis, None] for axis in range(2))
    # COCO's similarity, with half of the squared diagonal in the place of the area
    scale = 2 * (2 * sigmas) ** 2 * truth.diagonals[people][:, None] ** 2 / 2
    similar = torch.exp(-(x[..., None, :] ** 2 + y[..., :, None] ** 2) / scale[..., None, None])
    squares = ((filters - similar) ** 2).mean((2, 3)) * truth.weights[people]
    return squares.sum() / truth.weights[people].sum().clamp(min=1)


def _window_loss(filters: Tensor, found: Tensor, to_truth: Tensor, weights: Tensor) -> Tensor:
    """Compare the windows, brought to the height that they have without a filter, with Gaussians at the truth."""
    reach = found.shape[3] // 2
    steps = torch.arange(-reach, reach + 1, device=found.device)
    x, y = (torch.exp(-((steps - to_truth[..., axis, None]) ** 2) / (2 * (SIGMA * STRIDE) ** 2)) for axis in range(2))
    targets = y[..., :, None] * x[..., None, :]
    shares = filters / filters.mean((2, 3), keepdim=True).clamp(min=_NOTHING)
    moved = refinement.adapted(found, shares, found.shape[0] * found.shape[1])
    counted = weights * (to_truth.abs() <= reach).all(-1)
    squares = (((moved - targets) ** 2).sum((2, 3)) * counted).sum()
    return squares / ((targets**2).sum((2, 3)) * counted).sum().clamp(min=1)


def total(network: LogoCap, maps: Maps, truth: Truth, noise: Tensor) -> dict[str, Tensor]:
    """Return the terms of the loss, their sum under `loss`."""
    terms = {"heat": heat_loss(maps.heatmaps, truth), "offset": _OFFSETS * offset_loss(maps.offsets, truth)}
    terms |= adaptation_losses(network, maps, truth, noise)
    return {"loss": torch.stack(list(terms.values())).sum(), **terms}
