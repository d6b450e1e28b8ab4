"""A pipeline: a named list of steps and networks. Two runtimes run it: `in_process.py` and `triton/`."""

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
        name: name by which callers request it.
        inputs: what callers send.
        members: each takes tensors of `inputs` or of earlier members.
        outputs: what callers may request. Any subset is allowed; only the members that it needs run.
        parameters: facts about the pipeline that callers can read.

    Raises:
        ValueError: a tensor is missing, is produced twice or does not fit (the message names member and tensor).
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
                    raise ValueError(f"pipeline {self.name}: {member.name} makes {tensor.name}, which exists already")
                made[tensor.name] = tensor
        for tensor in self.outputs:
            self._check("callers get", made, tensor)

    def needed(self, wanted: Iterable[str]) -> dict[str, frozenset[str]]:
        """Return the members that must run for the wanted outputs: member name -> its outputs that are needed.

        Raises:
            ValueError: an output is unknown (the message lists those that exist).
        """
        missing = set(wanted)
        unknown = sorted(missing - {tensor.name for tensor in self.outputs})
        if unknown:
            known = ", ".join(tensor.name for tensor in self.outputs)
            raise ValueError(f"pipeline {self.name} has no output {', '.join(unknown)}; choose from {known}")
        needed: dict[str, frozenset[str]] = {}
        for member in reversed(self.members):
            of_member = missing & {tensor.name for tensor in member.outputs}
            if of_member:
                needed[member.name] = frozenset(of_member)
                missing |= {tensor.name for tensor in member.inputs}
        return needed

    def _check(self, need: str, made: Mapping[str, Tensor], tensor: Tensor) -> None:
        if tensor.name not in made:
            raise ValueError(f"pipeline {self.name}: {need} {tensor.name}, which no earlier member makes")
        if not made[tensor.name].feeds(tensor):
            has = made[tensor.name]
            raise ValueError(
                f"pipeline {self.name}: {need} {tensor.name} as {tensor.dtype} {list(tensor.dims)}, "
                f"but it is {has.dtype} {list(has.dims)}"
            )
