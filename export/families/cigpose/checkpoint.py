"""Recognises and loads CIGPose checkpoints. Their names are the network's own, so nothing is converted."""

from typing import NamedTuple

from ensemble.geometry import Size
from ensemble.keypoints import keypoint_set_of_length
from export.checkpoint import Checkpoint, Shapes, listing, load_exactly
from export.families.cigpose.network import CigPose
from export.families.cigpose.variants import VARIANTS, Variant


class Hallmarks(NamedTuple):
    """Sizes that identify an architecture. All of them are read from shapes."""

    stem: int
    keypoints: int
    hidden_dims: int
    bins_x: int
    bins_y: int
    gcn_layers: int


def load_network(checkpoint: Checkpoint, variant: Variant | None = None, *, own_input: Size | None = None) -> CigPose:
    """Return the network of a checkpoint, float32, in eval mode.

    Args:
        checkpoint: an official checkpoint.
        variant: the expected variant; None: recognised from names and shapes.
        own_input: (w, h) of the crop. With it, an unpublished architecture is accepted, too; names and shapes state
            everything else.

    Raises:
        ValueError: the checkpoint is of another variant (the message names it), or its names and shapes are not exactly
            those of the variant (the message lists the differences).
    """
    try:
        chosen = _choose(checkpoint.shapes, variant, checkpoint.path.name, own_input)
        network = CigPose(chosen)
        load_exactly(network, checkpoint, chosen.name)
    except ValueError as error:
        raise ValueError(f"{checkpoint.path}: {error}") from None
    return network


def recognise(shapes: Shapes) -> list[Variant]:
    """Return the published variants of this architecture, from the shapes of a checkpoint's entries.

    There are two where only the training data differ (`coco-wholebody` and `coco-ubody`), and none for other sizes.

    Raises:
        ValueError: these are not the entries of a CIGPose network.
    """
    hallmarks = _hallmarks(shapes)
    return [variant for variant in VARIANTS.values() if _hallmarks_of(variant) == hallmarks]


def _choose(shapes: Shapes, asked: Variant | None, file_name: str, own_input: Size | None) -> Variant:
    published = recognise(shapes)
    if asked is None:
        if not published and own_input:
            return _own(shapes, own_input)
        if not published:
            raise ValueError(f"no published variant has this architecture: {_hallmarks(shapes)}")
        return next((variant for variant in published if variant.name in file_name), published[0])
    if _hallmarks(shapes) != _hallmarks_of(asked):
        found = " or ".join(variant.name for variant in published) or f"unpublished: {_hallmarks(shapes)}"
        raise ValueError(f"this file is {found}, you asked for {asked.name}")
    return asked


def _own(shapes: Shapes, input_size: Size) -> Variant:
    """Describe an unpublished architecture by its shapes. `load_exactly` checks every entry later."""
    found = _hallmarks(shapes)
    ratio = found.bins_x / input_size[0]
    if (found.bins_x, found.bins_y) != tuple(int(side * ratio) for side in input_size):
        raise ValueError(f"its rows of {found.bins_x} and {found.bins_y} bins do not fit crops of {input_size}")
    try:
        channels, gau_s = shapes["backbone.stage4.0.conv.weight"][0], shapes["head.gau.gamma"][1]
    except (KeyError, IndexError) as error:
        raise ValueError(f"not a CIGPose network: {error}; it has {listing(shapes)}") from None
    blocks = {name.split(".")[4] for name in shapes if name.startswith("backbone.stage2.1.blocks.")}
    return Variant(
        name="an unpublished network",
        keypoint_set=keypoint_set_of_length(found.keypoints).name,
        input_size=input_size,
        widen=channels / 1024,
        deepen=len(blocks) / 6,
        hidden_dims=found.hidden_dims,
        gau_s=gau_s,
        gcn_layers=found.gcn_layers,
        cim_k_train=1,  # for training only, like sigma
        sigma=(1.0, 1.0),
        split_ratio=ratio,
    )


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
