"""The same crops through PyTorch, ONNX Runtime and a server: how far the answers are apart."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ensemble.steps.decode_simcc import decode_simcc
from export.comparison import PRECISIONS, Difference, Rows, difference
from export.served import Crops, Served

COLUMNS = ("network", "compared", "largest", "rms", "allowed", "arg-maxima moved", "keypoints moved, px (mean, most)")


@dataclass(frozen=True)
class Finding:
    """What separates two ways to run one network.

    Attributes:
        network: its name.
        compared: the two ways.
        difference: of the logits.
        bound: allowed for `difference.rms`.
        moved: rows whose arg-max is another.
        rows: number of rows.
        mean_px: mean distance of a keypoint from its other self, in crop pixels.
        most_px: the largest.
    """

    network: str
    compared: str
    difference: Difference
    bound: float
    moved: int
    rows: int
    mean_px: float
    most_px: float

    @property
    def passed(self) -> bool:
        """Tell whether the bound holds (never when the difference is no number)."""
        return self.difference.rms <= self.bound

    def cells(self) -> tuple[str, ...]:
        """Return one row of the table, in the order of COLUMNS."""
        return (
            self.network,
            self.compared,
            f"{self.difference.largest:.2g}",
            f"{self.difference.rms:.2g}",
            f"{self.bound:g}" + ("" if self.passed else " EXCEEDED"),
            f"{self.moved} of {self.rows}",
            f"{self.mean_px:.3f}, {self.most_px:.2f}",
        )


def compare(network: Served, compared: str, bound: float, expected: Rows, actual: Rows) -> Finding:
    """Measure how far `actual` is from `expected`.

    Raises:
        ValueError: the shapes differ.
    """
    found = difference(expected, actual)
    pairs = list(zip(expected, actual, strict=True))
    ratio = expected[0].shape[2] / network.input_size[0]
    points = [decode_simcc(*rows)[0] / ratio for rows in (expected, actual)]
    distances = np.linalg.norm(points[0] - points[1], axis=-1)
    return Finding(
        network=network.name,
        compared=compared,
        difference=found,
        bound=bound,
        moved=sum(int((a.argmax(2) != b.argmax(2)).sum()) for a, b in pairs),
        rows=sum(a.shape[0] * a.shape[1] for a, _ in pairs),
        mean_px=float(distances.mean()),
        most_px=float(distances.max()),
    )


def precision_bound(network: Served) -> float:
    """Return the bound of the precision that the network was exported in; float32's where its config says nothing."""
    return PRECISIONS.get(network.source.get("precision", "fp32"), PRECISIONS["fp32"])


def fixed_crops(input_size: tuple[int, int], count: int, seed: int = 0) -> Crops:
    """Return `count` different crops of a picture's magnitude, the same for the same seed: blocks under noise."""
    width, height = input_size
    generator = np.random.default_rng(seed)
    coarse = generator.normal(0, 1, (count, -(-height // 16), -(-width // 16), 3))
    blocks = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]
    noise = generator.normal(0, 0.3, blocks.shape)
    crops: Crops = np.clip(np.rint(118 + 58 * (blocks + noise)), 0, 255).astype(np.uint8)
    return crops


def table(findings: list[Finding]) -> str:
    """Return the findings as text, columns aligned."""
    lines = [COLUMNS, *(finding.cells() for finding in findings)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


@contextlib.contextmanager
def server_of(repository: Path, profile: str) -> Iterator[str]:
    """Start a server on the repository and a free port; yield its gRPC address.

    Raises:
        ValueError: it does not start (the message says why).
    """
    from server.process import ServerOptions, free_port, running_server  # only here: a given address needs no server

    options = ServerOptions(repository, grpc_port=free_port(), http_port=0, metrics_port=0, profile=profile)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(running_server(options, log=Path(folder) / "server.log"))
        except RuntimeError as error:
            raise ValueError(str(error)) from error
        yield running.grpc_url
