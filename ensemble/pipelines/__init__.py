"""The pipelines that a repository offers: one file for each kind, and the registry that chooses among them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ensemble.networks import Detector, PoseModel, TopDownNetwork
from ensemble.pipeline import Pipeline
from ensemble.pipelines import top_down

DEFAULT = "pose"

_BY_TYPE: dict[type, Callable[[Any, Sequence[Any], Detector | None], tuple[Pipeline, ...]]] = {
    TopDownNetwork: top_down.pipelines,
}
"""Type of a pose network -> its pipelines, called `pose_<network>` and the like.

A function gets the network, all networks of its type (the first one's steps have the plain names) and the detector.
"""


def pipelines(models: Sequence[PoseModel], detector: Detector | None = None) -> tuple[Pipeline, ...]:
    """Return every pipeline of a repository; those of the first network are also there without its name.

    Raises:
        ValueError: no network, two of one name, a name with a comma, or a network without the detector it needs.
    """
    names = [model.name for model in models]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"the networks' names must differ, and there must be one at least; got {names}")
    if any("," in name for name in names):  # it separates the names in the parameter `networks`
        raise ValueError(f"a network's name must hold no comma; got {names}")
    named = [pipeline for model in models for pipeline in _of(model, models, detector)]
    default = [_without_name(pipeline, names[0]) for pipeline in named if pipeline.parameters["network"] == names[0]]
    listed = {"networks": ",".join(names)}  # the model index of a server is closed to the network
    return tuple(replace(each, parameters={**each.parameters, **listed}) for each in (*default, *named))


def _of(model: PoseModel, models: Sequence[PoseModel], detector: Detector | None) -> tuple[Pipeline, ...]:
    alike = [other for other in models if type(other) is type(model)]
    return _BY_TYPE[type(model)](model, alike, detector)


def _without_name(pipeline: Pipeline, network: str) -> Pipeline:
    return replace(pipeline, name=pipeline.name.removesuffix(f"_{network}"))
