"""Official HRNet and SimpleBaseline checkpoints in, networks out.

The weights show the architecture, but not the crop that they were trained for: that comes from `--variant` or from
the file's name.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ensemble.keypoints import find_keypoint_set, keypoint_set_of_length
from export.checkpoint import read_checkpoint
from export.families.hrnet.network import HeatmapNetwork, of_architecture
from export.families.hrnet.variants import (
    ARCHITECTURES,
    VARIANTS,
    Architecture,
    Hrnet,
    Resnet,
    Variant,
    size_in_name,
    variant_of,
)

_LISTED = 20  # names in an error message
Shapes = Mapping[str, tuple[int, ...]]


class Loaded(NamedTuple):
    """A network with its checkpoint's weights, in eval mode, and what it is."""

    network: HeatmapNetwork
    variant: Variant


@dataclass(frozen=True)
class Problems:
    """How a checkpoint's entries differ from a network's."""

    missing: list[str]
    unknown: list[str]
    misshaped: list[str]

    @property
    def count(self) -> int:
        """Number of entries that differ."""
        return len(self.missing) + len(self.unknown) + len(self.misshaped)

    def __str__(self) -> str:
        """Return one line for people."""
        kinds = {"missing": self.missing, "unknown": self.unknown, "of another shape": self.misshaped}
        return "; ".join(f"{kind}: {_listing(names)}" for kind, names in kinds.items() if names)


def load_network(path: Path, variant: Variant | None = None) -> Loaded:
    """Read a checkpoint into a network.

    Args:
        path: an official checkpoint in any of its flavours (see `export.checkpoint.read_checkpoint`).
        variant: what the file is; recognised from its entries and its name when None.

    Raises:
        ValueError: the file is no checkpoint, is of another architecture (the message names it), its names and shapes
            are not exactly those of the architecture (the message lists them), or nothing states its crop size.
    """
    state = read_checkpoint(path).state
    try:
        chosen = choose(shapes_of(state), variant, path.name)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    network = of_architecture(chosen.architecture, len(state["final_layer.bias"]))
    network.load_state_dict(state, strict=True)
    network.eval()
    return Loaded(network, chosen)


def choose(shapes: Shapes, asked: Variant | None, file_name: str) -> Variant:
    """Return the variant of a checkpoint's entries.

    Args:
        shapes: of the entries.
        asked: what they must be, None for any.
        file_name: states the crop size where `asked` does not.

    Raises:
        ValueError: see `load_network`.
    """
    architecture, found = recognise(shapes)
    if asked and asked.architecture != architecture and differences(shapes, asked.architecture).count > found.count:
        raise ValueError(f"this file is a {architecture.name}, you asked for {asked.name}")
    if found.count:
        raise ValueError(f"not the entries of a {architecture.name}; {found}")
    if asked:
        return asked
    size = size_in_name(file_name)
    if size is None:
        published = [name for name, entry in VARIANTS.items() if entry.architecture == architecture]
        raise ValueError(
            f"this is a {architecture.name}, but weights hold no crop size and the file's name states none; "
            f"say it with --variant, such as {' or '.join(published) or f'pose_{architecture.name}_256x192'}"
        )
    return variant_of(architecture, size, keypoint_set_of_length(_keypoints(shapes)).name)


def recognise(shapes: Shapes) -> tuple[Architecture, Problems]:
    """Return the architecture that a checkpoint's entries fit best, and what does not fit.

    Raises:
        ValueError: these are the entries of neither HRNet nor SimpleBaseline, or of an unknown set of keypoints.
    """
    if not is_heatmap_network(shapes):
        raise ValueError(f"neither an HRNet nor a SimpleBaseline; it has {_listing(list(shapes))}")
    candidates = [_as_it_looks(shapes), *ARCHITECTURES]  # the first wins a tie, so it may be an unpublished one
    problems = [differences(shapes, candidate) for candidate in candidates]
    best = min(range(len(candidates)), key=lambda index: problems[index].count)
    return candidates[best], problems[best]


def is_heatmap_network(shapes: Shapes) -> bool:
    """Return whether the entries are roughly those of an HRNet or a SimpleBaseline, and nothing else's."""
    heads = {name.split(".")[0] for name in shapes}
    return "final_layer" in heads and bool(heads & {"deconv_layers", "stage4"}) and "gpr" not in heads


def differences(shapes: Shapes, architecture: Architecture) -> Problems:
    """Return how entries differ from those of a baseline network."""
    return compare(shapes, _entries(architecture, _keypoints(shapes)))


def compare(shapes: Shapes, expected: Shapes) -> Problems:
    """Return how entries differ from the expected ones."""
    return Problems(
        [name for name in expected if name not in shapes],
        [name for name in shapes if name not in expected],
        [
            f"{name} {shapes[name]} instead of {expected[name]}"
            for name in expected
            if name in shapes and shapes[name] != expected[name]
        ],
    )


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every entry."""
    return {name: tuple(value.shape) for name, value in state.items()}


@functools.cache
def _entries(architecture: Architecture, keypoints: int) -> Shapes:
    with torch.device("meta"):
        return shapes_of(of_architecture(architecture, keypoints).state_dict())


def _keypoints(shapes: Shapes) -> int:
    """Return the number K of heat maps, by the last layer's weight or else its bias.

    Raises:
        ValueError: no keypoint set has that many points.
    """
    counts = [shapes[name][0] for name in ("final_layer.weight", "final_layer.bias") if shapes.get(name)]
    known = [count for count in counts if find_keypoint_set(count)]
    return known[0] if known else len(keypoint_set_of_length(counts[0] if counts else 0))


def _as_it_looks(shapes: Shapes) -> Architecture:
    """Return the architecture that single entries suggest; those that are missing count as the official ones."""

    def channels(name: str, axis: int, otherwise: int) -> int:
        shape = shapes.get(name, ())
        return shape[axis] if len(shape) > axis else otherwise

    def count(pattern: str) -> int:
        found = {int(match[1]) for name in shapes if (match := re.match(pattern, name))}
        return max(found, default=0) + 1

    stem = channels("conv1.weight", 0, 64)
    if any(name.startswith("stage4.") for name in shapes):
        second, third, fourth = (count(rf"stage{stage}\.(\d+)\.") for stage in (2, 3, 4))
        blocks = count(r"stage2\.0\.branches\.0\.(\d+)\.")
        width = channels("transition1.0.0.weight", 0, 4 * stem)  # nothing changes the width where this entry is missing
        return Hrnet(width, (second, third, fourth), blocks, stem, count(r"layer1\.(\d+)\."))
    first, second, third, fourth = (count(rf"layer{layer}\.(\d+)\.") for layer in (1, 2, 3, 4))
    bottleneck = any(".conv3." in name for name in shapes)
    return Resnet((first, second, third, fourth), bottleneck, stem, channels("deconv_layers.0.weight", 1, 256))


def _listing(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
