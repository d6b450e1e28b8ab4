"""The difference between two sets of answers, which every export and `export verify` report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Answers: TypeAlias = Mapping[str, NDArray[Any]]  # output name -> array, one item a row

PRECISIONS = {  # precision of an export -> bound on the rms difference, in standard deviations of an output
    "fp32": 2e-4,  # float32 rounding; the published variants reach 4e-5
    "fp16": 0.15,  # the convolutions compute in float16, the head in float32
    "fp16-weights": 0.15,  # the weights are stored in float16, the computation is in float32
}
BOUNDS = "accept this rms difference, in standard deviations of an output, instead of " + ", ".join(
    f"{bound:g} ({name})" for name, bound in PRECISIONS.items()
)


@dataclass(frozen=True)
class Difference:
    """The difference between two runs of one network, for the output that differs most.

    Attributes:
        largest: largest absolute difference of two values.
        rms: root mean square difference, in standard deviations of the output.
    """

    largest: float
    rms: float

    def __str__(self) -> str:
        """Return one readable line."""
        return f"largest {self.largest:.2g}, rms {self.rms:.2g} standard deviations"


def difference(expected: Answers, actual: Answers) -> Difference:
    """Measure the difference of `actual` from `expected`. NaN anywhere makes both numbers NaN.

    Raises:
        ValueError: the outputs or their shapes differ.
    """
    shapes = [{name: array.shape for name, array in answers.items()} for answers in (expected, actual)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"shapes differ: {shapes[0]} expected, {shapes[1]} given")
    errors = [actual[name].astype(np.float64) - array for name, array in expected.items()]
    spreads = [float(array.std()) or 1.0 for array in expected.values()]
    rms = [np.sqrt(np.mean(error * error)) / spread for error, spread in zip(errors, spreads, strict=True)]
    return Difference(float(np.max([np.abs(error).max() for error in errors])), float(np.max(rms)))


def joined(parts: Sequence[Answers]) -> dict[str, NDArray[Any]]:
    """Return the answers of several batches as those of one batch."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
