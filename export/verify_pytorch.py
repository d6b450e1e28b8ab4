"""The PyTorch side of `verify`: a checkpoint's own answers to the crops that a repository serves."""

from pathlib import Path

import torch
from torch import Tensor

from export.checkpoint import load_network
from export.comparison import Rows, concatenated
from export.families.cigpose.check import clearest
from export.families.cigpose.forms import FlipTested
from export.families.cigpose.network import CigPose
from export.families.cigpose.variants import VARIANTS
from export.families.top_down import MEAN, STD
from export.served import Crops, Served


def checkpoint_network(path: Path, network: Served) -> CigPose:
    """Read the checkpoint a network was exported from; its config may name the variant, which may be unpublished.

    Raises:
        ValueError: it is no such checkpoint, or its input size is another (the message says both).
    """
    found = load_network(path, VARIANTS.get(network.source.get("variant", "")), own_input=network.input_size)
    if found.variant.input_size != network.input_size:
        raise ValueError(
            f"{path} is {found.variant.name}, for crops of {found.variant.input_size}; "
            f"{network.name} takes {network.input_size}"
        )
    return found


def choose_crops(network: CigPose, candidates: Crops, count: int) -> Crops:
    """Return those of the candidates on which rounding cannot change the network's decision."""
    with torch.no_grad():
        chosen = clearest(network, _normalised(candidates), count)
    best: Crops = candidates[chosen.numpy()]
    return best


def pytorch_answers(network: CigPose, crops: Crops, flip_test: bool) -> Rows:
    """Return the float32 network's own answers, with the flip test where the export has it inside."""
    form = FlipTested(network, network.variant.keypoint_set) if flip_test else network
    with torch.no_grad():
        return concatenated([tuple(rows.numpy() for rows in form(crop[None])) for crop in _normalised(crops)])


def _normalised(crops: Crops) -> Tensor:
    rgb = torch.from_numpy(crops[..., ::-1].copy()).permute(0, 3, 1, 2).float()
    return (rgb - torch.tensor(MEAN).reshape(3, 1, 1)) / torch.tensor(STD).reshape(3, 1, 1)
