"""The pipelines that a repository offers: one file for each kind, and the function that collects them.

A file holds the type that describes a network of its kind; the pipelines are a method of that type, so a new kind is
one new file.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from ensemble.networks import Detector
from ensemble.pipeline import Pipeline
from ensemble.steps.decode_image import DecodeImage


class PoseModel(Protocol):
    """What all pose networks have in common, whatever the pipeline that they need."""

    @property
    def name(self) -> str:
        """Of its pipelines, after `pose_` and `pose_from_boxes_`."""

    @property
    def default(self) -> str:
        """In place of `pose`, the name of the pipelines of the first network that has this default."""

    def pipelines(self, models: Sequence["PoseModel"], detector: Detector | None) -> tuple[Pipeline, ...]:
        """Return what the network offers beside the other models of a repository.

        Raises:
            ValueError: it needs a detector or another model that is not there.
        """


def pipelines(models: Sequence[PoseModel], detector: Detector | None = None) -> tuple[Pipeline, ...]:
    """Return every pipeline of a repository, first those without a network's name.

    Raises:
        ValueError: no network, two of one name, a name with a comma, or a network without the detector it needs.
    """
    names = [model.name for model in models]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"the networks' names must differ, and there must be one at least; got {names}")
    if any("," in name for name in names):  # it separates the names in the parameter `networks`
        raise ValueError(f"a network's name must hold no comma; got {names}")
    first = {model.default: model for model in reversed(models)}
    default: list[Pipeline] = []
    named: list[Pipeline] = []
    for model in models:
        own = model.pipelines(models, detector)
        named += own
        default += [_without_name(pipeline, model) for pipeline in own if first[model.default] is model]
    listed = {"networks": ",".join(names)}  # the model index of a server is closed to the network
    return tuple(replace(each, parameters={**each.parameters, **listed}) for each in (*default, *named))


def decode_image(detector: Detector | None) -> DecodeImage:
    """Return the first step of every pipeline of a repository."""
    return DecodeImage("decode_image", *(detector.input_size if detector else ()))


def _without_name(pipeline: Pipeline, model: PoseModel) -> Pipeline:
    kind = pipeline.name.removeprefix("pose").removesuffix(f"_{model.name}")
    return replace(pipeline, name=model.default + kind)
