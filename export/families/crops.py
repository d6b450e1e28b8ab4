"""Crops as the top-down networks take them in PyTorch: examples for an export, and those of a served file."""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ensemble.geometry import Size
from export.comparison import Answers
from export.families.top_down import MEAN, STD

INPUT = "input"  # name of the input of exported files


class _Variant(Protocol):
    @property
    def input_size(self) -> Size: ...


def example_crops(variant: _Variant, count: int, seed: int = 0) -> Tensor:
    """Return `count` random crops (count, 3, H, W) float32 of the magnitude of pictures, fixed for a seed."""
    width, height = variant.input_size
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn((count, 3, height // 16, width // 16), generator=generator)
    fine = torch.randn((count, 3, height, width), generator=generator)
    return functional.interpolate(coarse, size=(height, width), mode="nearest") + 0.3 * fine


def normalised(served: Answers, channel_order: str = "rgb") -> dict[str, Tensor]:
    """Return the network's input for uint8 BGR `crops`; the order is one of `families.top_down.CHANNEL_ORDERS`."""
    channels = served["crops"][..., ::-1] if channel_order == "rgb" else served["crops"]
    planes = torch.from_numpy(channels.copy()).permute(0, 3, 1, 2).float()
    return {INPUT: (planes - torch.tensor(MEAN).reshape(3, 1, 1)) / torch.tensor(STD).reshape(3, 1, 1)}
