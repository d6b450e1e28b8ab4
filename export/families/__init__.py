"""The families of pose networks. Each is a module or a folder here that defines `FAMILY`, and a name in FAMILIES.

A folder holds `network.py` (PyTorch), `variants.py` (the published sizes), `checkpoint.py` (the table of names, where
the checkpoints' are not the network's), `export.py` (what `checkpoints` names) and, where no step of `ensemble` fits,
`steps.py`, which imports nothing but numpy, cv2 and `ensemble`: it is copied into the repository.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import onnx

from ensemble.pipelines import PoseModel
from export import graph_edit, metadata

FAMILIES = (  # the first family that recognises a file serves it
    "cigpose",
    "logocap",
    "simcc",
    "graph_pcnn",
    "hrnet",
    "poseformer",
    "heatmaps",
)


@dataclass(frozen=True)
class PoseOptions:
    """Overrides for pose files without this metadata.

    Attributes:
        input_size: (w, h) of the crop, for files that leave it open.
        outputs: names of the SimCC rows along x and along y, for files whose names and shapes leave it open.
        flip_test: average with the mirrored crop inside the graph; doubles the work.
        lift_from: name of the 2-D network below a lifter; "" for the first one that fits.
    """

    input_size: tuple[int, int] | None = None
    outputs: tuple[str, str] | None = None
    flip_test: bool = False
    lift_from: str = ""


@dataclass(frozen=True)
class Served:
    """A pose file in served form: its description for the pipelines, and its graphs by model name."""

    model: PoseModel
    graphs: Mapping[str, onnx.ModelProto]


@dataclass(frozen=True)
class Family:
    """A family of pose networks.

    Attributes:
        name: name in the metadata of exported files.
        serve: returns the served form of a file; raises ValueError with the path in its message.
        form: the files that `recognises` accepts, for an error message; "" for a family whose files are recognised by
            their metadata only.
        recognises: returns whether a file without metadata has the form.
        variants: published networks by name, with their facts in one line (see `facts`).
        checkpoints: name of the module that reads and exports checkpoints (`export.checkpoint.Exporter`). It needs
            PyTorch.
    """

    name: str
    serve: Callable[[Path, onnx.ModelProto, PoseOptions], Served]
    form: str = ""
    recognises: Callable[[onnx.ModelProto], bool] = lambda _: False
    variants: Mapping[str, str] = field(default_factory=dict)
    checkpoints: str = ""


@functools.cache
def families() -> dict[str, Family]:
    """Return every family by name."""
    return {name: import_module(f"{__name__}.{name}").FAMILY for name in FAMILIES}


def facts(keypoints: int, input_size: tuple[int, int], parameters: int | None, accuracy: str) -> str:
    """Return the facts that `export variants` prints after a network's name; `parameters` is their number, if known."""
    size, millions = f"{input_size[1]}x{input_size[0]}", f"{parameters / 1e6:5.1f} M" if parameters else ""
    return f"{keypoints:>3} points {size:>8} {millions:7}  {accuracy}"


def serve_pose_file(path: Path, options: PoseOptions | None = None) -> Served:
    """Read a pose network's ONNX file of any family and fold the preprocessing into it.

    Raises:
        ValueError: no family has this form (the message lists their forms), or its family cannot serve the file.
    """
    model = graph_edit.load(path)
    return _family_of(path, model).serve(path, model, options or PoseOptions())


def _family_of(path: Path, model: onnx.ModelProto) -> Family:
    stated = metadata.check(path, model).get("family")
    if stated is None:
        for family in families().values():
            if family.recognises(model):
                return family
        forms = "; ".join(f"{family.name}: {family.form}" for family in families().values() if family.form)
        raise ValueError(f"{path}: {graph_edit.signature(model)}; no family of pose networks has this form. {forms}")
    if stated not in families():
        raise ValueError(f"{path}: the metadata says family {stated!r}; known: {', '.join(families())}")
    return families()[stated]
