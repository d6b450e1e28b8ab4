"""Workarounds for Triton 2.51, applied when pipelines are rendered. They are confined to this module.

`docs/platform.md` lists all known faults of the platform, and the version where each one ends.

1. When one of two concurrent steps fails, Triton never releases the request of the other, nor its memory, and a stop
   waits for it. So members run in the listed order: a step that takes no output of the member before it gets one as
   an additional input.
2. An ensemble deadlocks ("at least one output is not set") when the only requested tensor is an input of a step that is
   skipped. So no member consumes a tensor that callers may request: the member that makes it also outputs a copy.
3. When a tensor is both input and output of an ensemble, Triton counts it among the outputs of the first listed step.
   When it is not requested, Triton subtracts it from the needed outputs of that step, and skips the step when none is
   left, although it is needed. So the first listed step is one with two or more outputs that are needed all or not at
   all.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from ensemble.steps import Step
from ensemble.tensors import Tensor

if TYPE_CHECKING:  # the adapter imports this module, and the gate's steps need no OpenCV
    from ensemble.pipeline import Member, Pipeline

_INNER = "_inner"


def inner(name: str) -> str:
    """Return the name of a public tensor's copy for the steps (2)."""
    return name + _INNER


def inner_of(name: str) -> str:
    """Return the name of the tensor that `name` is a copy of."""
    return name.removesuffix(_INNER)


def copied(pipeline: "Pipeline") -> frozenset[str]:
    """Return the tensors that are made by one member, consumed by another, and offered to callers (2)."""
    made = {tensor.name for member in pipeline.members for tensor in member.outputs}
    consumed = {tensor.name for member in pipeline.members for tensor in member.inputs}
    return frozenset(made & consumed & {tensor.name for tensor in pipeline.outputs})


def order_inputs(members: "Sequence[Member]") -> Mapping[str, Tensor]:
    """Return the additional inputs that enforce the listed order (1), by member name.

    Raises:
        ValueError: a network takes no output of the member before it; networks cannot get additional inputs.
    """
    added = {}
    for before, member in pairwise(members):
        names = {tensor.name for tensor in before.outputs}
        if names & {tensor.name for tensor in member.inputs}:
            continue
        if not (isinstance(member, Step) and isinstance(before, Step)):
            raise ValueError(
                f"{member.name} takes no output of {before.name} before it, so Triton would run both concurrently"
            )
        added[member.name] = min(before.outputs, key=lambda tensor: -1 in tensor.dims)  # the first of fixed size
    return added


def listed(pipeline: "Pipeline") -> "tuple[Member, ...]":
    """Return the members in the order in which an ensemble lists them (3).

    Raises:
        ValueError: no member can come first.
    """
    if not {tensor.name for tensor in pipeline.inputs} & {tensor.name for tensor in pipeline.outputs}:
        return pipeline.members
    for first in pipeline.members:
        reached = {_reached(pipeline, tensor.name) for tensor in first.outputs}
        public = {tensor.name for tensor in first.outputs} & {tensor.name for tensor in pipeline.outputs}
        if len(first.outputs) > 1 and len(reached) == 1 and not public:
            return first, *(member for member in pipeline.members if member is not first)
    raise ValueError(f"pipeline {pipeline.name}: no member has two outputs that are needed all or not at all")


def _reached(pipeline: "Pipeline", name: str) -> frozenset[str]:
    """Return the pipeline's outputs that depend on a tensor."""
    dependent = {name}
    for member in pipeline.members:
        if dependent & {tensor.name for tensor in member.inputs}:
            dependent |= {tensor.name for tensor in member.outputs}
    return frozenset(dependent & {tensor.name for tensor in pipeline.outputs})
