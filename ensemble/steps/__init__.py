"""The steps of the pipelines, one file each: pure functions on declared tensors, without Triton and without state."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

from numpy.typing import NDArray

from ensemble.tensors import Tensor

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Weight: TypeAlias = Literal["light", "pixels"]
_Step = TypeVar("_Step", bound="Step")


@dataclass(frozen=True)
class Request:
    """One request to a step.

    Attributes:
        tensors: the step's input arrays by name.
        parameters: the caller's request parameters.
        wanted: names of the outputs that are needed.
        timeout_s: longest time in queues that the caller allows.
    """

    tensors: Arrays
    parameters: Mapping[str, Any]
    wanted: frozenset[str]
    timeout_s: float = math.inf


@dataclass(frozen=True)
class Step(ABC):
    """A pure function with declared inputs and outputs. The fields of a subclass are its settings.

    Attributes:
        name: name of the model that serves the step. Two steps of one class with different settings need two names.
        weight: `pixels` for a step that touches every pixel.
        counters: name -> help text of the Prometheus counters that `counts` adds to.
        refusals: reasons for which the step rejects a request: the values of a metric's label. An error states its
            reason in its attribute `reason`; without one, the first reason applies.
    """

    name: str
    weight: ClassVar[Weight] = "light"
    counters: ClassVar[Mapping[str, str]] = {}
    refusals: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors that `run` reads."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[Tensor, ...]:
        """The tensors that `run` can return."""

    @abstractmethod
    def run(self, request: Request) -> Arrays:
        """Return the outputs by name; those that are not wanted may be left out.

        Raises:
            ValueError: the request is invalid; the text is shown to the caller.
        """

    def counts(self, inputs: Arrays, outputs: Arrays) -> Mapping[str, int]:
        """Return what one answered request adds to `counters`."""
        return {}

    @property
    def settings(self) -> dict[str, str]:
        """The settings by name, as a model's config states them."""
        return {field.name: str(getattr(self, field.name)) for field in fields(self) if field.name != "name"}

    @classmethod
    def from_settings(cls: type[_Step], name: str, settings: Mapping[str, str]) -> _Step:
        """Return the step that a model's config describes; the inverse of `settings`."""
        values = {field.name: field.type(settings[field.name]) for field in fields(cls) if field.name != "name"}  # type: ignore[operator]
        return cls(name, **values)


def load_step(name: str, parameters: Mapping[str, str]) -> Step:
    """Return the step that a model's config describes.

    Args:
        name: name of the model.
        parameters: parameters of its config. `step` is `module:class`; the others are the step's settings.
    """
    module, _, class_name = parameters["step"].partition(":")
    step: Step = getattr(import_module(module), class_name).from_settings(name, parameters)
    return step
