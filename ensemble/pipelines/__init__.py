"""The pipelines of a repository: one file for each kind, and the function that collects them.

A file defines the type that describes a network of its kind. The pipelines are a method of that type, so a new kind is
one new file.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from ensemble.networks import Detector
from ensemble.pipeline import Pipeline
from ensemble.steps.decode_image import DecodeImage


class PoseModel(Protocol):
    """What all pose networks have in common, whatever their kind of pipeline."""

    @property
    def name(self) -> str:
        """Name of the network. The names of its pipelines end in it, such as `pose_<name>`."""

    @property
    def default(self) -> str:
        """Name of the default pipeline, such as `pose`, which belongs to the first network that states it."""

    def pipelines(self, models: Sequence["PoseModel"], detector: Detector | None) -> tuple[Pipeline, ...]:
        """Return the network's pipelines in a repository of these models.

        Raises:
            ValueError: the network needs a detector or another model, and the repository has none.
        """


def pipelines(models: Sequence[PoseModel], detector: Detector | None = None) -> tuple[Pipeline, ...]:
    """Return every pipeline of a repository; those without a network's name come first.

    Raises:
        ValueError: there is no network, two share a name, a name holds a comma, or a network's detector is missing.
    """
    names = [model.name for model in models]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"a repository needs one network at least, and their names must differ; got {names}")
    if any("," in name for name in names):  # the separator in the parameter `networks`
        raise ValueError(f"a network's name must hold no comma; got {names}")
    first = {model.default: model for model in reversed(models)}
    default: list[Pipeline] = []
    named: list[Pipeline] = []
    for model in models:
        own = model.pipelines(models, detector)
        named += own
        default += [_without_name(pipeline, model) for pipeline in own if first[model.default] is model]
    listed = {"networks": ",".join(names)}  # callers cannot list the models: the index is closed to the network
    return tuple(replace(each, parameters={**each.parameters, **listed}) for each in (*default, *named))


def decode_image(detector: Detector | None) -> DecodeImage:
    """Return the first step of every pipeline of a repository."""
    return DecodeImage("decode_image", *(detector.input_size if detector else ()))


def _without_name(pipeline: Pipeline, model: PoseModel) -> Pipeline:
    kind = pipeline.name.removeprefix("pose").removesuffix(f"_{model.name}")
    return replace(pipeline, name=model.default + kind)
