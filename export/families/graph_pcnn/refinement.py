"""What stage 2 does at the guided points: sample the features there, exchange them on the skeleton's graph."""
# mypy: disallow-subclassing-any=False

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

Edges = Sequence[tuple[int, int]]


class GraphRefinement(nn.Module):
    """Equation (7): the weighted mean of linear maps of a keypoint's own features and of its neighbours'.

    Attributes:
        weight: (E, width, channels), a map for every ordered pair: K from each keypoint to itself, then two an edge,
            first to second and second to first.
    """

    def __init__(self, keypoints: int, edges: Edges, channels: int, width: int) -> None:
        super().__init__()
        pairs = [(k, k) for k in range(keypoints)]
        pairs += [pair for a, b in edges for pair in ((a, b), (b, a))]
        self.shape, self.width = (keypoints, len(pairs)), width
        self.weight = nn.Parameter(torch.empty(len(pairs), width, channels))
        nn.init.uniform_(self.weight, -(channels**-0.5), channels**-0.5)
        senders, receivers = torch.tensor(pairs).unbind(1)
        self.register_buffer("senders", senders, persistent=False)
        self.register_buffer("neighbours", senders[keypoints:], persistent=False)
        incidence = functional.one_hot(receivers, keypoints).T.float()
        self.register_buffer("incidence", incidence, persistent=False)  # (K, E)

    def forward(self, features: Tensor, weights: Tensor) -> Tensor:
        """Refine features.

        Args:
            features: (B, K, channels) at the guided points.
            weights: (B, K) how much each keypoint counts for its neighbours; 0 for one that is not reliable. For itself
                it counts 1.

        Returns:
            (B, K, width).
        """
        of_keypoint, heat = features.transpose(0, 1), weights.T.unsqueeze(2)
        messages = of_keypoint[self.senders] @ self.weight.transpose(1, 2)  # (E, B, width)
        shares = torch.cat((torch.ones_like(heat), heat[self.neighbours]))
        refined = self._received(messages * shares, self.width) / self._received(shares, 1)
        return refined.transpose(0, 1)

    def _received(self, sent: Tensor, channels: int) -> Tensor:
        """Return the sums (K, B, channels) of what was sent along the pairs (E, B, channels), as one product."""
        keypoints, pairs = self.shape
        return (self.incidence.to(sent.dtype) @ sent.reshape(pairs, -1)).reshape(keypoints, -1, channels)


def fully_connected(inputs: int, hidden: int) -> nn.Sequential:
    """Return the layers between the refined features and the two heads; one row a keypoint, shared by all."""
    steps: list[nn.Module] = []
    for width in (inputs, hidden):
        steps += [nn.Linear(width, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()]
    return nn.Sequential(*steps)


def sample(features: Tensor, points: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the features (B, P, C) at points, bilinearly.

    Args:
        features: (B, C, h, w).
        points: (B, P, 2) in cells; (0, 0) is the first cell's centre. Outside, the border counts.
        size: (w, h).
    """
    x, y = (points[..., axis] * (2 / (size[axis] - 1)) - 1 for axis in range(2))  # as grid_sample counts
    grid = torch.stack((x, y), 2).unsqueeze(1)
    found = functional.grid_sample(features, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return found.squeeze(2).transpose(1, 2)


def guided_points(heatmaps: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Decode heat maps with the official quarter offset, as `ensemble.steps.decode_heatmaps` does.

    Args:
        heatmaps: (B, K, h, w).
        size: (w, h).

    Returns:
        points (B, K, 2) in cells, (0, 0) where the maximum is not positive; maxima (B, K).
    """
    width, height = size
    flat = heatmaps.flatten(2)
    maxima, cells = flat.max(2)
    x = cells % width
    y = (cells - x).to(flat.dtype) / width  # exact, and one operator less awkward than an integer quotient

    def at(step: int) -> Tensor:
        return flat.gather(2, (cells + step).clamp(0, width * height - 1).unsqueeze(2)).squeeze(2)

    uphill = torch.stack((at(1) - at(-1), at(width) - at(-width)), 2).sign()
    inside = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    points = torch.stack((x.to(flat.dtype), y), 2) + 0.25 * uphill * inside.unsqueeze(2).to(flat.dtype)
    return points * (maxima > 0).unsqueeze(2).to(flat.dtype), maxima
