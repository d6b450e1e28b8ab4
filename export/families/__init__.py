"""The families of pose networks. Each is a module or a folder here with a `FAMILY`, and a name in FAMILIES.

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

FAMILIES = (  # asked in this order whether a file is theirs
    "cigpose",
    "simcc",
)


@dataclass(frozen=True)
class PoseOptions:
    """Overrides for pose files without this metadata.

    Attributes:
        input_size: (w, h) of the crop, for files that leave it open.
        outputs: names of the SimCC rows along x and along y, where neither names nor shapes show which is which.
        flip_test: average with the mirrored crop inside the graph; doubles the work.
    """

    input_size: tuple[int, int] | None = None
    outputs: tuple[str, str] | None = None
    flip_test: bool = False


@dataclass(frozen=True)
class Served:
    """A pose file in served form: what the pipelines must know of it, and its graphs by their models' names."""

    model: PoseModel
    graphs: Mapping[str, onnx.ModelProto]


@dataclass(frozen=True)
class Family:
    """What a family offers.

    Attributes:
        name: as in the metadata of exported files.
        serve: from a file and its model to the served form; raises ValueError with the path in its message.
        form: the files that `recognises` accepts, in words for an error message; "" for a family whose files are
            found by their metadata alone.
        recognises: whether a file without metadata has the form.
        variants: published networks by name, with their facts in one line (see `facts`).
        checkpoints: name of the module that reads checkpoints and exports them, which needs PyTorch; see
            `export.checkpoint.Exporter`.
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


def facts(keypoints: int, input_size: tuple[int, int], parameters: int, accuracy: str) -> str:
    """Return the line that `export variants` prints after a network's name."""
    size = f"{input_size[1]}x{input_size[0]}"
    return f"{keypoints:>3} points {size:>8} {parameters / 1e6:5.1f} M  {accuracy}"


def serve_pose_file(path: Path, options: PoseOptions | None = None) -> Served:
    """Read a pose network's ONNX file of any family and fold the preprocessing into it.

    Raises:
        ValueError: no family has this form (the message lists their forms), or the file's own family cannot serve it.
    """
    model = graph_edit.load(path)
    return _family_of(path, model).serve(path, model, options or PoseOptions())


def _family_of(path: Path, model: onnx.ModelProto) -> Family:
    stated = metadata.read(model).get("family")
    if stated is None:
        for family in families().values():
            if family.recognises(model):
                return family
        forms = "; ".join(f"{family.name}: {family.form}" for family in families().values() if family.form)
        raise ValueError(f"{path}: {graph_edit.signature(model)}; no family of pose networks has this form. {forms}")
    if stated not in families():
        raise ValueError(f"{path}: the metadata says family {stated!r}; known: {', '.join(families())}")
    return families()[stated]
