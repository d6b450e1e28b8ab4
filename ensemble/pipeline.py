"""A pipeline: a named list of steps and networks. Two runtimes carry it out, `in_process.py` and `triton/`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ensemble.networks import Network
from ensemble.steps import Step
from ensemble.tensors import Tensor

Member: TypeAlias = Step | Network


@dataclass(frozen=True)
class Pipeline:
    """Steps and networks in the order in which they run. Tensors are wired by their names.

    Attributes:
        name: as callers ask for it.
        inputs: what callers send.
        members: each takes tensors of `inputs` or of earlier members.
        outputs: what callers may ask for; any subset, and only the members that it needs run.
        parameters: what the pipeline offers, for callers to read.

    Raises:
        ValueError: a tensor is missing, comes twice or does not fit (the message names member and tensor).
    """

    name: str
    inputs: tuple[Tensor, ...]
    members: tuple[Member, ...]
    outputs: tuple[Tensor, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        made = {tensor.name: tensor for tensor in self.inputs}
        for member in self.members:
            for tensor in member.inputs:
                self._check(f"{member.name} needs", made, tensor)
            for tensor in member.outputs:
                if tensor.name in made:
                    raise ValueError(f"pipeline {self.name}: {member.name} makes {tensor.name}, which is there already")
                made[tensor.name] = tensor
        for tensor in self.outputs:
            self._check("callers get", made, tensor)

    def needed(self, wanted: Iterable[str]) -> dict[str, frozenset[str]]:
        """Return the members that must run for some of the outputs: name -> the outputs that are needed of each.

        Raises:
            ValueError: an output is unknown (the message lists those that exist).
        """
        missing = set(wanted)
        unknown = sorted(missing - {tensor.name for tensor in self.outputs})
        if unknown:
            known = ", ".join(tensor.name for tensor in self.outputs)
            raise ValueError(f"pipeline {self.name} has no output {', '.join(unknown)}; choose from {known}")
        found: dict[str, frozenset[str]] = {}
        for member in reversed(self.members):
            of_member = missing & {tensor.name for tensor in member.outputs}
            if of_member:
                found[member.name] = frozenset(of_member)
                missing |= {tensor.name for tensor in member.inputs}
        return found

    def _check(self, need: str, made: Mapping[str, Tensor], tensor: Tensor) -> None:
        if tensor.name not in made:
            raise ValueError(f"pipeline {self.name}: {need} {tensor.name}, which no earlier member makes")
        if not made[tensor.name].feeds(tensor):
            has = made[tensor.name]
            raise ValueError(
                f"pipeline {self.name}: {need} {tensor.name} as {tensor.dtype} {list(tensor.dims)}, "
                f"but it is {has.dtype} {list(has.dims)}"
            )
