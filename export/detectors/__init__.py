"""The families of person detectors. Each is a module here that defines `FAMILY`, and a name in DETECTORS."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import onnx

from ensemble.geometry import Size
from export import graph_edit, metadata, network_file
from export.detectors.contract import ServedDetector
from export.focus import without_focus

DETECTORS = (  # the first family that recognises a file serves it
    "detr",
    "nanodet",
    "yolox",
)


@dataclass(frozen=True)
class DetectorOptions:
    """Overrides for detector files without this metadata.

    Attributes:
        input_size: (w, h) of the letterboxed picture, for files that leave it open.
        form: one of `forms()`; None: recognised from names, shapes and numbers.
        person: index of the class of people; 0 in COCO's 80 classes.
    """

    input_size: Size | None = None
    form: str | None = None
    person: int = 0


@dataclass(frozen=True)
class DetectorFamily:
    """A family of detectors.

    Attributes:
        forms: names of the forms of its files, for `DetectorOptions.form`.
        description: the files that `recognises` accepts, for an error message.
        recognises: returns whether a file can be of this family.
        serve: returns the served form, given the path, the model with float32 inputs and outputs, (w, h) of its picture
            and the options; raises ValueError with the path in its message.
    """

    forms: tuple[str, ...]
    description: str
    recognises: Callable[[onnx.ModelProto], bool]
    serve: Callable[[Path, onnx.ModelProto, Size, DetectorOptions], ServedDetector]


@functools.cache
def _families() -> tuple[DetectorFamily, ...]:
    return tuple(import_module(f"{__name__}.{name}").FAMILY for name in DETECTORS)


def forms() -> list[str]:
    """Return the forms of all families."""
    return [form for family in _families() for form in family.forms]


def serve_detector_file(path: Path, options: DetectorOptions | None = None) -> ServedDetector:
    """Read a detector's ONNX file of any family and fold everything around the network into its graph.

    Raises:
        ValueError: no family has this form (the message lists their forms), or the file leaves something open (the
            message names the option that sets it).
    """
    options, model = options or DetectorOptions(), graph_edit.load(path)
    metadata.check(path, model)
    candidates = [family for family in _families() if options.form in (None, *family.forms)]
    family = next((family for family in candidates if family.recognises(model)), None)
    if family is None:
        known = "; ".join(f"{', '.join(family.forms)}: {family.description}" for family in candidates)
        raise ValueError(f"{path}: {graph_edit.signature(model)}; no family of detectors has this form. {known}")
    size = network_file.fix_size(path, model, options.input_size, "--detector-size")
    network_file.with_float32_ends(model)
    return family.serve(path, without_focus(model), size, options)
