"""Official CIGPose checkpoints in, networks out; nothing a file contains is ever run.

Checkpoints of MMEngine's trainer carry, beside the weights, a log and a configuration that pickle foreign objects.
They are read with PyTorch's restricted unpickler, in which inert stand-ins take the place of exactly the foreign names
that such files are known to contain. Any other name is refused.
"""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ensemble.keypoints import keypoint_set_of_length
from export.families.cigpose.network import CigPose
from export.families.cigpose.variants import VARIANTS, Variant

_FOREIGN = (  # what MMEngine's trainer writes, with numpy 1 or 2, below `meta` and `message_hub`
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    "numpy.ndarray",
    "numpy.dtype",
    "_codecs.encode",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "__builtin__.getattr",
    "builtins.getattr",
)
_PREFIXES = ("module.", "model.")  # of wrappers for several GPUs, and of trainers that hold the network as `model`
_LISTED = 20  # names in an error message

Shapes = dict[str, tuple[int, ...]]


class Hallmarks(NamedTuple):
    """What tells one architecture from another; all of it can be read off shapes."""

    stem: int
    keypoints: int
    hidden_dims: int
    bins_x: int
    bins_y: int
    gcn_layers: int


class _Inert:
    """Stand-in for a foreign class: takes any state, does nothing."""

    def __new__(cls, *_arguments: object) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *_arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def load_network(path: Path, variant: Variant | None = None, *, own_input: tuple[int, int] | None = None) -> CigPose:
    """Read a checkpoint into a network.

    Args:
        path: an official checkpoint in any of its flavours (see `read_state_dict`).
        variant: what the file is; recognised from names and shapes when None.
        own_input: (w, h) of the crop, with which an architecture that is not published is taken as well: names and
            shapes tell everything else.

    Returns:
        the network, float32, in eval mode.

    Raises:
        ValueError: the file is no checkpoint, is of another variant (the message names it), or its names and shapes
            are not exactly those of the variant (the message lists them).
    """
    state = read_state_dict(path)
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    try:
        chosen = _choose(shapes, variant, path.name, own_input)
        _check(shapes, chosen)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    network = CigPose(chosen)
    network.load_state_dict(state, strict=True)
    network.eval()
    return network


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the weights of a checkpoint, without running anything the file contains.

    Old and zip format; `{"state_dict": ...}` or bare; names with a common `module.` or `model.` prefix, which is taken
    off. `state_dict` of the trainer's files holds the averaged weights; `ema_state_dict`, in spite of its name, the raw
    ones (MMEngine's EMAHook swaps them on saving), so it is ignored.

    Raises:
        ValueError: the file is no checkpoint, is damaged, refers to code, or holds something else than tensors.
    """
    content = _load(path)
    entries = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(entries, Mapping) or not entries:
        raise ValueError(f"{path} holds no state_dict")
    foreign = [str(name) for name, value in entries.items() if not isinstance(value, Tensor)]
    if foreign:
        raise ValueError(f"{path}: not tensors: {_listing(foreign)}")
    return _without_prefix({str(name): value for name, value in entries.items()})


def recognise(shapes: Shapes) -> list[Variant]:
    """Return the published variants of this architecture, from the shapes of a checkpoint's entries.

    More than one where only the training data differ (`coco-wholebody` and `coco-ubody`), none for an unpublished size.

    Raises:
        ValueError: these are not the entries of a CIGPose network.
    """
    hallmarks = _hallmarks(shapes)
    return [variant for variant in VARIANTS.values() if _hallmarks_of(variant) == hallmarks]


def _load(path: Path) -> object:
    with path.open("rb"):  # a missing or unreadable file is an OSError, whatever torch would make of it
        pass
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([(_Inert, name) for name in _FOREIGN]):
            warnings.simplefilter("ignore")  # PyTorch's own remarks on its old formats
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # hostile bytes make the unpickler raise nearly anything: struct.error, MemoryError ...
        code = re.search(r"GLOBAL (\S+)", str(error))
        if code:
            raise ValueError(
                f"{path} refers to {code[1]}, which no CIGPose checkpoint needs: refused, nothing was run"
            ) from None
        raise ValueError(f"{path} is no PyTorch checkpoint, or it is damaged or incomplete") from error


def _without_prefix(entries: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in entries):
            return _without_prefix({name.removeprefix(prefix): value for name, value in entries.items()})
    return entries


def _choose(shapes: Shapes, asked: Variant | None, file_name: str, own_input: tuple[int, int] | None) -> Variant:
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


def _own(shapes: Shapes, input_size: tuple[int, int]) -> Variant:
    """Describe an unpublished architecture by its shapes; what is wrong with the result, `_check` finds."""
    found = _hallmarks(shapes)
    ratio = found.bins_x / input_size[0]
    if (found.bins_x, found.bins_y) != tuple(int(side * ratio) for side in input_size):
        raise ValueError(f"its rows of {found.bins_x} and {found.bins_y} bins are not of crops of {input_size}")
    try:
        channels, gau_s = shapes["backbone.stage4.0.conv.weight"][0], shapes["head.gau.gamma"][1]
    except (KeyError, IndexError) as error:
        raise ValueError(f"not a CIGPose network: {error}; it has {_listing(list(shapes))}") from None
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
        cim_k_train=1,  # of no consequence for inference, as the next one
        sigma=(1.0, 1.0),
        split_ratio=ratio,
    )


def _check(shapes: Shapes, variant: Variant) -> None:
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in CigPose(variant).state_dict().items()}
    both = expected.keys() & shapes.keys()
    problems = {
        "missing": [name for name in expected if name not in both],
        "unknown": [name for name in shapes if name not in both],
        "of another shape": [
            f"{name} {shapes[name]} instead of {expected[name]}"
            for name in expected
            if name in both and shapes[name] != expected[name]
        ],
    }
    if any(problems.values()):
        texts = [f"{kind}: {_listing(names)}" for kind, names in problems.items() if names]
        raise ValueError(f"not the entries of {variant.name}; {'; '.join(texts)}")


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
        raise ValueError(f"not a CIGPose network: {error}; it has {_listing(list(shapes))}") from None


def _hallmarks_of(variant: Variant) -> Hallmarks:
    return Hallmarks(
        variant.stem_channels[0], variant.num_keypoints, variant.hidden_dims, *variant.bins, variant.gcn_layers
    )


def _listing(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
