"""Checkpoints of any family in, weights out; nothing a file contains is ever run.

Checkpoints of MMEngine's trainer carry, beside the weights, a log and a configuration that pickle foreign objects.
They are read with PyTorch's restricted unpickler, in which inert stand-ins take the place of exactly the foreign names
that such files are known to contain. Any other name is refused.
"""

import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

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
_PREFIXES = ("module.", "model.")  # of wrappers for several GPUs, and of trainers that hold the network as `model`
_LISTED = 20  # names in an error message

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a file by name."""

    path: Path
    state: Mapping[str, Tensor]

    @property
    def shapes(self) -> Shapes:
        """The shapes by name; enough to tell one architecture from another."""
        return {name: tuple(value.shape) for name, value in self.state.items()}


class Exporter(Protocol):
    """The module that a family names as its `checkpoints`.

    Attributes:
        KEYS: what its checkpoints hold, in words for an error message.
    """

    KEYS: str

    def recognises(self, shapes: Shapes) -> bool:
        """Return whether these may be the entries of one of the family's checkpoints."""

    def export(self, checkpoint: Checkpoint, output: Path, options: ExportOptions) -> ExportReport:
        """Write the checkpoint as ONNX."""

    def original(self, checkpoint: Checkpoint, network: Network) -> Original:
        """Return the network that a served one was exported from."""


class _Inert:
    """Stand-in for a foreign class: takes any state, does nothing."""

    def __new__(cls, *_arguments: object) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *_arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def read_checkpoint(path: Path) -> Checkpoint:
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
        raise ValueError(f"{path}: not tensors: {listing(foreign)}")
    return Checkpoint(path, _without_prefix({str(name): value for name, value in entries.items()}))


def exporter_of(checkpoint: Checkpoint, variant: str | None = None) -> Exporter:
    """Return the exporter of the variant's family, else of the first family that recognises the checkpoint.

    Raises:
        ValueError: no family recognises the checkpoint (the message lists what they expect).
    """
    expected = []
    for family in families().values():
        if family.checkpoints:
            exporter = cast(Exporter, import_module(family.checkpoints))
            if variant in family.variants or (variant is None and exporter.recognises(checkpoint.shapes)):
                return exporter
            expected.append(f"{family.name}: {exporter.KEYS}")
    found = f"no family has such entries: {listing(checkpoint.shapes)}"
    raise ValueError(f"{checkpoint.path}: {found}. {'; '.join(expected)}")


def load_exactly(network: nn.Module, checkpoint: Checkpoint, name: str) -> None:
    """Load a checkpoint whose names and shapes are exactly those of the network, and put it in eval mode.

    Raises:
        ValueError: they are not (the message lists the differences).
    """
    shapes, expected = checkpoint.shapes, Checkpoint(checkpoint.path, network.state_dict()).shapes
    problems = {
        "missing": [entry for entry in expected if entry not in shapes],
        "unknown": [entry for entry in shapes if entry not in expected],
        "of another shape": [
            f"{entry} {shapes[entry]} instead of {expected[entry]}"
            for entry in expected
            if shapes.get(entry, expected[entry]) != expected[entry]
        ],
    }
    if any(problems.values()):
        texts = [f"{kind}: {listing(entries)}" for kind, entries in problems.items() if entries]
        raise ValueError(f"not the entries of {name}; {'; '.join(texts)}")
    network.load_state_dict(checkpoint.state, strict=True)
    network.eval()


def listing(names: Collection[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(list(names)[:_LISTED]) + more


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
                f"{path} refers to {code[1]}, which no known checkpoint needs: refused, nothing was run"
            ) from None
        raise ValueError(f"{path} is no PyTorch checkpoint, or it is damaged or incomplete") from error


def _without_prefix(entries: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in entries):
            return _without_prefix({name.removeprefix(prefix): value for name, value in entries.items()})
    return entries
