"""CIGPose's checkpoints: which variant one is. Their names are the network's own, so nothing is converted."""

from typing import NamedTuple

from export.checkpoint import Checkpoint, Shapes, listing, load_exactly
from export.families.cigpose.network import CigPose
from export.families.cigpose.variants import VARIANTS, Variant


class Hallmarks(NamedTuple):
    """What tells one architecture from another; all of it can be read off shapes."""

    stem: int
    keypoints: int
    hidden_dims: int
    bins_x: int
    bins_y: int
    gcn_layers: int


def load_network(checkpoint: Checkpoint, variant: Variant | None = None) -> CigPose:
    """Return the network of a checkpoint, float32, in eval mode.

    Args:
        checkpoint: an official one.
        variant: what it is, published or not; recognised from names and shapes when None.

    Raises:
        ValueError: it is of another variant (the message names it), or its names and shapes are not exactly those of
            the variant (the message lists them).
    """
    try:
        chosen = _choose(checkpoint.shapes, variant, checkpoint.path.name)
        network = CigPose(chosen)
        load_exactly(network, checkpoint, chosen.name)
    except ValueError as error:
        raise ValueError(f"{checkpoint.path}: {error}") from None
    return network


def recognise(shapes: Shapes) -> list[Variant]:
    """Return the published variants of this architecture, from the shapes of a checkpoint's entries.

    More than one where only the training data differ (`coco-wholebody` and `coco-ubody`), none for an unpublished size.

    Raises:
        ValueError: these are not the entries of a CIGPose network.
    """
    hallmarks = _hallmarks(shapes)
    return [variant for variant in VARIANTS.values() if _hallmarks_of(variant) == hallmarks]


def _choose(shapes: Shapes, asked: Variant | None, file_name: str) -> Variant:
    published = recognise(shapes)
    if asked is None:
        if not published:
            raise ValueError(f"no published variant has this architecture: {_hallmarks(shapes)}")
        return next((variant for variant in published if variant.name in file_name), published[0])
    if _hallmarks(shapes) != _hallmarks_of(asked):
        found = " or ".join(variant.name for variant in published) or f"unpublished: {_hallmarks(shapes)}"
        raise ValueError(f"this file is {found}, you asked for {asked.name}")
    return asked


def _hallmarks(shapes: Shapes) -> Hallmarks:
    try:
        bins_x, hidden_dims = shapes["head.cls_gx.weight"]
        return Hallmarks(
            stem=shapes["backbone.stem.0.conv.weight"][0],
            keypoints=shapes["head.final_layer.weight"][0],
            hidden_dims=hidden_dims,
            bins_x=bins_x,
            bins_y=shapes["head.cls_gy.weight"][0],
            gcn_layers=len({name.split(".")[3] for name in shapes if name.startswith("head.gcn.edgeconv_layers.")}),
        )
    except (KeyError, ValueError, IndexError) as error:
        raise ValueError(f"not a CIGPose network: {error}; it has {listing(shapes)}") from None


def _hallmarks_of(variant: Variant) -> Hallmarks:
    return Hallmarks(
        variant.stem_channels[0], variant.num_keypoints, variant.hidden_dims, *variant.bins, variant.gcn_layers
    )
