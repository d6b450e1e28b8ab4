"""Reads the weights of checkpoints of any family, without running any code that a file contains.

Beside the weights, checkpoints of MMEngine's trainer hold a log and a configuration that pickle foreign objects. They
are read with PyTorch's restricted unpickler. Inert stand-ins replace exactly the foreign names that such files are
known to contain. Any other name is an error.
"""

import re
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from ensemble.networks import Network
from export.families import families
from export.onnx_export import ExportOptions, ExportReport, Original

_FOREIGN = (  # what MMEngine's trainer writes, with numpy 1 or 2, below `meta` and `message_hub`
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    "numpy.ndarray",
    "numpy.dtype",
    "_codecs.encode",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "__builtin__.getattr",
    "builtins.getattr",
)
_PREFIXES = ("module.", "model.")  # from wrappers for several GPUs, and from trainers that hold the network as `model`
_WEIGHTS = ("state_dict", "model")  # under which of its keys a trainer keeps the weights, if not at the top
_LISTED = 20  # names in an error message

Shapes = Mapping[str, tuple[int, ...]]
_Variant = TypeVar("_Variant", bound="Variant")
_Module = TypeVar("_Module", bound=nn.Module)


class Variant(Protocol):
    """What distinguishes one network of a family from another."""

    @property
    def name(self) -> str:
        """The published file's stem, or any name for a network of your own."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file and its weights by name."""

    path: Path
    state: Mapping[str, Tensor]

    @property
    def shapes(self) -> Shapes:
        """The shapes by name, which identify the architecture."""
        return {name: tuple(value.shape) for name, value in self.state.items()}


class Exporter(Protocol):
    """Interface of the module that a family names as its `checkpoints`.

    Attributes:
        KEYS: entries of every checkpoint of the family. The family most of whose KEYS a checkpoint has recognises it.
    """

    KEYS: tuple[str, ...]

    def export(self, checkpoint: Checkpoint, output: Path, options: ExportOptions) -> ExportReport:
        """Write the checkpoint as ONNX."""

    def original(self, checkpoint: Checkpoint, network: Network) -> Original:
        """Return the network from which a served one was exported."""


class _Inert:
    """Stand-in for a foreign class: takes any state, does nothing."""

    def __new__(cls, *_arguments: object) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *_arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the weights of a checkpoint, without running any code that the file contains.

    The file may be in the old or the zip format, and hold `{"state_dict": ...}`, `{"model": ...}` or bare entries. A
    prefix `module.` or `model.` that all names share is removed. In MMEngine's files, `state_dict` holds the averaged
    weights. Despite its name, `ema_state_dict` holds the raw ones (MMEngine's EMAHook swaps them on saving), so it is
    ignored.

    Raises:
        ValueError: the file is no checkpoint, is damaged, refers to code, or has entries that are not tensors.
    """
    content = _load(path)
    entries = content
    if isinstance(content, Mapping):
        entries = next((content[key] for key in _WEIGHTS if key in content), content)
    if not isinstance(entries, Mapping) or not entries:
        raise ValueError(f"{path} holds no state_dict")
    foreign = [str(name) for name, value in entries.items() if not isinstance(value, Tensor)]
    if foreign:
        raise ValueError(f"{path}: not tensors: {_listing(foreign)}")
    return Checkpoint(path, _without_prefix({str(name): value for name, value in entries.items()}))


def exporter_of(checkpoint: Checkpoint, named: str | None = None) -> Exporter:
    """Return the exporter of a family for a checkpoint.

    Args:
        checkpoint: the checkpoint.
        named: name of the family or of one of its variants; None: the family that recognises the checkpoint.

    Raises:
        ValueError: no family recognises the checkpoint (the message lists the entries that each expects), or the named
            one has no checkpoints.
    """
    exporters = {
        family.name: cast(Exporter, import_module(family.checkpoints))
        for family in families().values()
        if family.checkpoints and named in (None, family.name, *family.variants)
    }

    def surplus(name: str) -> int:
        return sum(1 if key in checkpoint.state else -1 for key in exporters[name].KEYS)

    best = max(exporters, key=surplus, default=None)
    if best is None:
        raise ValueError(f"{checkpoint.path}: networks of {named} come from ONNX files, not from checkpoints")
    if named is None and surplus(best) <= 0:
        found = f"no family has such entries: {_listing(checkpoint.shapes)}"
        expected = [f"{name}: {', '.join(exporter.KEYS)} ..." for name, exporter in exporters.items()]
        raise ValueError(f"{checkpoint.path}: {found}. {'; '.join(expected)}")
    return exporters[best]


def load_variant(
    checkpoint: Checkpoint,
    variants: Iterable[_Variant],
    build: Callable[[_Variant], _Module],
    asked: str | None = None,
) -> tuple[_Variant, _Module]:
    """Return the variant whose names and shapes are exactly those of a checkpoint, and its network in eval mode.

    Args:
        checkpoint: its entries are called as in the network.
        variants: what it may be.
        build: from a variant to its network.
        asked: name of the variant; None: names and shapes tell, and where they fit several, the file's name.

    Raises:
        ValueError: the checkpoint is of another variant than asked, or of none (the message names it, or lists what
            differs from the variant that is closest), or its weights hold NaN.
    """
    shapes, path = checkpoint.shapes, checkpoint.path
    with torch.device("meta"):
        known = [(each, _differences(Checkpoint(path, build(each).state_dict()).shapes, shapes)) for each in variants]
    fitting = [variant.name for variant, differences in known if not differences]
    if asked and fitting and asked not in fitting:
        raise ValueError(f"{path}: this file is {' or '.join(fitting)}, you asked for {asked}")
    variant, differences = min(
        (pair for pair in known if asked in (None, pair[0].name)),
        key=lambda pair: (sum(map(len, pair[1].values())), pair[0].name not in path.name),
    )
    if differences:
        listed = "; ".join(f"{kind}: {_listing(names)}" for kind, names in differences.items())
        raise ValueError(f"{path}: not the entries of {variant.name}; {listed}")
    if broken := [name for name, value in checkpoint.state.items() if value.isnan().any()]:
        raise ValueError(
            f"{path}: the weights hold NaN: {_listing(broken)}; take an earlier checkpoint of the training"
        )
    network = build(variant)
    network.load_state_dict(checkpoint.state, strict=True)
    network.eval()
    return variant, network


def _differences(expected: Shapes, shapes: Shapes) -> dict[str, list[str]]:
    """Return the entries that differ by kind of difference; no kind without entries."""
    differences = {
        "missing": [name for name in expected if name not in shapes],
        "unknown": [name for name in shapes if name not in expected],
        "of another shape": [
            f"{name} {shapes[name]} instead of {shape}"
            for name, shape in expected.items()
            if shapes.get(name, shape) != shape
        ],
    }
    return {kind: names for kind, names in differences.items() if names}


def _listing(names: Collection[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(list(names)[:_LISTED]) + more


def _load(path: Path) -> object:
    with path.open("rb"):  # a missing or unreadable file raises OSError, not one of torch's errors
        pass
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([(_Inert, name) for name in _FOREIGN]):
            warnings.simplefilter("ignore")  # PyTorch's warnings about its old formats
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on hostile bytes the unpickler raises struct.error, MemoryError and others
        code = re.search(r"GLOBAL (\S+)", str(error))
        if code:
            raise ValueError(
                f"{path} refers to {code[1]}, which no known checkpoint needs: refused, nothing was run"
            ) from None
        raise ValueError(f"{path} is no PyTorch checkpoint, or it is damaged or incomplete") from error


def _without_prefix(entries: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in entries):
            return _without_prefix({name.removeprefix(prefix): value for name, value in entries.items()})
    return entries
