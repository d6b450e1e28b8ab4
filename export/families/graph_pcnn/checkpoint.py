"""Checkpoints in, Graph-PCNN networks out: of both stages, or of a baseline, with which both branches then start."""

from dataclasses import replace
from pathlib import Path

import torch

from export.checkpoint import read_checkpoint
from export.families.graph_pcnn.network import COPY, GraphPcnn, on_top_of
from export.families.graph_pcnn.variants import Variant, variant_of
from export.families.hrnet import checkpoint as baselines
from export.families.hrnet.checkpoint import Shapes
from export.families.hrnet.network import of_architecture

_STAGE2 = (COPY, "gpr.", "fc.", "cls.", "reg.")


def load_network(path: Path, variant: Variant | None = None) -> GraphPcnn:
    """Read a checkpoint into a network.

    Args:
        path: a checkpoint of both stages, or of the baseline alone; see `is_trained`.
        variant: what the file is; recognised from its entries and its name when None.

    Returns:
        the network, float32, in eval mode.

    Raises:
        ValueError: the file is no checkpoint, its names and shapes are not exactly those of the variant (the message
            lists them), or nothing states its crop size.
    """
    state = read_checkpoint(path).state
    shapes = baselines.shapes_of(state)
    try:
        chosen = choose(shapes, variant, path.name)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    baseline = of_architecture(chosen.baseline.architecture, chosen.keypoints)
    baseline.load_state_dict({name: value for name, value in state.items() if not _of_stage2(name)}, strict=True)
    network = on_top_of(baseline, chosen)
    if is_trained(shapes):
        network.load_state_dict(state, strict=True)
    network.eval()
    return network


def is_trained(shapes: Shapes) -> bool:
    """Return whether the entries hold a second stage; without one it changes no keypoint."""
    return any(_of_stage2(name) for name in shapes)


def choose(shapes: Shapes, asked: Variant | None, file_name: str) -> Variant:
    """Return the variant of a checkpoint's entries; widths of stage 2 are the file's.

    Raises:
        ValueError: see `load_network`.
    """
    stage1 = {name: shape for name, shape in shapes.items() if not _of_stage2(name)}
    baseline = baselines.choose(stage1, asked.baseline if asked else None, file_name)
    chosen = asked or variant_of(baseline)
    if not is_trained(shapes):
        return chosen
    if len(shapes.get("fc.0.weight", ())) == 2:
        hidden, width = shapes["fc.0.weight"]
        chosen = replace(chosen, width=width, hidden=hidden)
    problems = baselines.compare(shapes, _entries(chosen))
    if problems.count:
        raise ValueError(f"not the entries of {chosen.name}; {problems}")
    return chosen


def _entries(variant: Variant) -> Shapes:
    with torch.device("meta"):
        network = GraphPcnn(variant, of_architecture(variant.baseline.architecture, variant.keypoints))
        return baselines.shapes_of(network.state_dict())


def _of_stage2(name: str) -> bool:
    return name.startswith(_STAGE2)
