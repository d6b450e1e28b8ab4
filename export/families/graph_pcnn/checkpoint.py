"""Checkpoints in, Graph-PCNN networks out: of both stages, or of a baseline, with which both branches then start."""

from dataclasses import replace

from ensemble.geometry import Size
from export.checkpoint import Checkpoint, load_variant
from export.families.graph_pcnn.network import COPY, GraphPcnn, new, on_top_of
from export.families.graph_pcnn.variants import VARIANTS, Variant, variant_of
from export.families.hrnet import checkpoint as baselines

_STAGE2 = (COPY, "gpr.", "fc.", "cls.", "reg.")


def load_network(checkpoint: Checkpoint, asked: str | None = None, size: Size | None = None) -> GraphPcnn:
    """Return the network of a checkpoint, float32, in eval mode.

    A baseline's checkpoint gives an untrained stage 2, which changes no keypoint (see `GraphPcnn.trained`). Arguments
    and errors: see `hrnet.checkpoint.load_network`.
    """
    entries = {name: value for name, value in checkpoint.state.items() if not name.startswith(_STAGE2)}
    baseline, stage1 = VARIANTS[asked].baseline.name if asked else None, Checkpoint(checkpoint.path, entries)
    if entries.keys() == checkpoint.state.keys():
        found, network = baselines.load_network(stage1, baseline, size)
        return on_top_of(network, variant_of(found))
    shape = checkpoint.shapes.get("fc.0.weight", ())
    hidden, width = shape if len(shape) == 2 else (Variant.hidden, Variant.width)
    stages1 = baselines.candidates(stage1, baseline, size)
    variants = [replace(variant_of(each), width=width, hidden=hidden) for each in stages1]
    return load_variant(checkpoint, variants, new, asked)[1]
