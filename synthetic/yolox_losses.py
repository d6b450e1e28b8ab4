"""Assignment of cells to people, and the loss of the detector.

YOLOX assigns cells by SimOTA, an optimal-transport search over the predictions. Here there is one class and the boxes
are exact, so a fixed rule suffices: the cells near the centre of a box, on the levels that fit its size. It costs
nothing, and the assignment does not change during training.
"""

import torch
from torch import Tensor
from torch.nn import functional

from export.detectors.yolox import STRIDES

_RADIUS = 1.5  # largest distance from the centre of the box, in strides
_SIZES = ((0.0, 80.0), (56.0, 180.0), (130.0, 1e9))  # longer side of a box in pixels, by level; they overlap
_BOX_WEIGHT = 5.0


def assign(bbox_xyxy: Tensor, corners: Tensor, strides: Tensor) -> Tensor:
    """Return for every cell the index of its box, or -1.

    Args:
        bbox_xyxy: (N, 4) pixels.
        corners: (A, 2) column and row of each cell.
        strides: (A,).

    Returns:
        (A,) int64; of several boxes, the cell gets the smallest.
    """
    if not len(bbox_xyxy):
        return torch.full((len(corners),), -1, device=corners.device)
    centers = (corners + 0.5) * strides[:, None]
    sides = bbox_xyxy[:, 2:] - bbox_xyxy[:, :2]
    longer, area = sides.amax(1), sides.prod(1)
    limits = torch.tensor(_SIZES, device=strides.device)[torch.log2(strides / STRIDES[0]).long()]
    fits = (longer >= limits[:, :1]) & (longer < limits[:, 1:])
    near = ((centers[:, None] - (bbox_xyxy[:, :2] + sides / 2)).abs() < _RADIUS * strides[:, None, None]).all(-1)
    inside = ((centers[:, None] > bbox_xyxy[:, :2]) & (centers[:, None] < bbox_xyxy[:, 2:])).all(-1)
    cost = torch.where(fits & near & inside, area, torch.inf)
    return torch.where(cost.amin(1) < torch.inf, cost.argmin(1), -1)


def decode_boxes(rows: Tensor, corners: Tensor, strides: Tensor) -> Tensor:
    """Return boxes (..., 4) as x1, y1, x2, y2 in pixels from raw rows (..., 4 or more)."""
    centers = (rows[..., :2] + corners) * strides[:, None]
    half = rows[..., 2:4].clamp(max=8).exp() * strides[:, None] / 2
    return torch.cat((centers - half, centers + half), dim=-1)


def detector_loss(logits: Tensor, boxes: list[Tensor], corners: Tensor, strides: Tensor) -> dict[str, Tensor]:
    """Return the terms of YOLOX's loss, and their sum as `loss`.

    Args:
        logits: (B, A, 6) rows before the sigmoid.
        boxes: B tensors (N, 4), pixels.
        corners: (A, 2).
        strides: (A,).
    """
    owners = torch.stack([assign(box, corners, strides) for box in boxes])
    positive = owners >= 0
    count = positive.sum().clamp(min=1)
    truth = torch.cat([box[owner[owner >= 0]] for box, owner in zip(boxes, owners, strict=True)])
    found = decode_boxes(logits, corners, strides)[positive]
    overlap = intersection_over_union(found, truth)
    scale = strides.expand_as(positive)[positive][:, None]
    wanted = torch.cat(
        (
            (truth[:, :2] + truth[:, 2:]) / 2 / scale - corners.expand(*positive.shape, 2)[positive],
            ((truth[:, 2:] - truth[:, :2]) / scale).log(),
        ),
        dim=1,
    )
    terms = {
        "box": _BOX_WEIGHT * (1 - overlap**2).sum() / count,
        "offset": (logits[..., :4][positive] - wanted).abs().sum() / count,
        "object": functional.binary_cross_entropy_with_logits(logits[..., 4], positive.float(), reduction="sum")
        / count,
        "class": functional.binary_cross_entropy_with_logits(
            logits[..., 5][positive], overlap.detach(), reduction="sum"
        )
        / count,
    }
    return {"loss": torch.stack(list(terms.values())).sum(), **terms}


def intersection_over_union(first: Tensor, second: Tensor) -> Tensor:
    """Return the IoU (N,) of each box of `first` (N, 4) with that of `second` (N, 4)."""
    sides = (torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2])).clamp(min=0)
    both = sides.prod(1)
    union = (first[:, 2:] - first[:, :2]).prod(1) + (second[:, 2:] - second[:, :2]).prod(1) - both
    return both / union.clamp(min=1e-6)
