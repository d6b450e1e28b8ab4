"""Crops as the top-down networks take them in PyTorch: examples for an export, and those of a served file."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ensemble.geometry import Size
from ensemble.tensors import CROPS
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
    return {INPUT: planes(served[CROPS.name], channel_order)}


def planes(
    crops: NDArray[np.uint8], channel_order: str = "rgb", mean: Sequence[float] = MEAN, std: Sequence[float] = STD
) -> Tensor:
    """Return uint8 BGR crops (N, H, W, 3) as normalised (N, 3, H, W) float32."""
    channels = crops[..., ::-1] if channel_order == "rgb" else crops
    pixels = torch.from_numpy(channels.copy()).permute(0, 3, 1, 2).float()
    return (pixels - torch.tensor(mean).reshape(3, 1, 1)) / torch.tensor(std).reshape(3, 1, 1)
