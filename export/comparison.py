"""How far two sets of SimCC rows are apart: what every export ends with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = tuple[Floats, Floats]  # simcc_x (N, K, W * split_ratio), simcc_y (N, K, H * split_ratio)

PRECISIONS = {  # of an export -> bound on the rms difference, in standard deviations of the logits
    "fp32": 2e-4,  # rounding of float32; 4e-5 is the most seen on the published variants
    "fp16": 0.15,  # the convolutions compute in float16, the head in float32
    "fp16-weights": 0.15,  # the weights are stored in float16, everything computes in float32
}


@dataclass(frozen=True)
class Difference:
    """What separates an export from the network it was made from.

    Attributes:
        largest: largest difference of two logits.
        rms: root mean square difference, in standard deviations of the logits.
        moved: share of rows whose arg-max lies more than one bin away.
    """

    largest: float
    rms: float
    moved: float

    def __str__(self) -> str:
        """Return one line for people."""
        return (
            f"largest {self.largest:.2g}, rms {self.rms:.2g} standard deviations of the logits, "
            f"{self.moved:.2%} of the arg-maxima more than a bin away"
        )


def difference(expected: Rows, actual: Rows) -> Difference:
    """Measure how far `actual` is from `expected`; NaN anywhere makes the numbers NaN.

    Raises:
        ValueError: the shapes differ.
    """
    if [rows.shape for rows in expected] != [rows.shape for rows in actual]:
        raise ValueError(f"shapes differ: {[r.shape for r in expected]} expected, {[r.shape for r in actual]} given")
    wanted = np.concatenate([rows.ravel() for rows in expected]).astype(np.float64)
    errors = np.concatenate([rows.ravel() for rows in actual]) - wanted
    spread = float(wanted.std()) or 1.0
    moves = [np.abs(a.argmax(2) - b.argmax(2)) > 1 for a, b in zip(expected, actual, strict=True)]
    return Difference(
        largest=float(np.abs(errors).max()),
        rms=float(np.sqrt(np.mean(errors * errors))) / spread,
        moved=float(np.mean(moves)),
    )


def concatenated(parts: Sequence[Rows]) -> Rows:
    """Join the rows of several batches."""
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
