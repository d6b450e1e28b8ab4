"""What works around Triton 2.51, applied to pipelines when they are rendered. Nothing else knows of it.

1. When one of two steps that run side by side fails, Triton keeps the other's request, and its memory, for ever, and
   waits for it when it is stopped. So members run in the listed order: a step that takes nothing of the one before
   gets one of its tensors as an additional input.
2. An ensemble deadlocks ("at least one output is not set") when it is asked only for a tensor which a step that is
   left out would have consumed. So no member consumes a tensor that callers may ask for: its maker makes a copy.
3. Where a tensor is input and output of an ensemble, Triton takes it for an output of the first listed step. When it
   is not asked for, that is subtracted from this step's needed outputs, and a step with none left is dropped although
   it is needed. So a step comes first whose outputs, two or more, are needed all or not at all.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from ensemble.networks import Network
from ensemble.pipeline import Member, Pipeline
from ensemble.tensors import Tensor

_INNER = "_inner"


def inner(name: str) -> str:
    """Return the name of a public tensor's copy for the steps (2)."""
    return name + _INNER


def inner_of(name: str) -> str:
    """Return the name of the tensor of which `name` is the copy."""
    return name.removesuffix(_INNER)


def copied(pipeline: Pipeline) -> frozenset[str]:
    """Return the tensors that are made by one member, consumed by another, and offered to callers (2)."""
    made = {tensor.name for member in pipeline.members for tensor in member.outputs}
    consumed = {tensor.name for member in pipeline.members for tensor in member.inputs}
    return frozenset(made & consumed & {tensor.name for tensor in pipeline.outputs})


def order_inputs(members: Sequence[Member]) -> Mapping[str, Tensor]:
    """Return what makes members run in the listed order (1): name -> an additional input.

    Raises:
        ValueError: a network takes nothing of the member before it, and a network's inputs cannot be added to.
    """
    added = {}
    for before, member in pairwise(members):
        names = {tensor.name for tensor in before.outputs}
        if names & {tensor.name for tensor in member.inputs}:
            continue
        if isinstance(member, Network) or isinstance(before, Network):
            raise ValueError(
                f"{member.name} takes nothing of {before.name} before it, so Triton would run both at once"
            )
        added[member.name] = min(before.outputs, key=lambda tensor: -1 in tensor.dims)  # the first of fixed size
    return added


def listed(pipeline: Pipeline) -> tuple[Member, ...]:
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


def _reached(pipeline: Pipeline, name: str) -> frozenset[str]:
    """Return the pipeline's outputs that depend on a tensor."""
    dependent = {name}
    for member in pipeline.members:
        if dependent & {tensor.name for tensor in member.inputs}:
            dependent |= {tensor.name for tensor in member.outputs}
    return frozenset(dependent & {tensor.name for tensor in pipeline.outputs})
