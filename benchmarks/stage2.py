"""`python -m benchmarks stage2`: the cost of Graph-PCNN's second stage, and its server's share of the network's floor.

Each round measures stage 1 alone, both stages, the floor, and the server, which is asked for given boxes.
"""

import argparse
import contextlib
import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
from cigpose_client import PoseClient

from benchmarks import floor, results, subject
from benchmarks.closed_loop import Call, drive
from benchmarks.constructed import GRAPH_PCNN, constructed_network
from ensemble.tensors import COARSE_KEYPOINTS, GRID_SCORES
from server.usage import CommandLine

BATCH = 8  # people in a request


@dataclass(frozen=True)
class Rounds:
    """The load of a measurement: profile of the server, callers, rounds, and requests in a round."""

    profile: str
    callers: int
    rounds: int
    requests: int

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Rounds":
        """Return what `add_rounds` parsed."""
        return cls(options.profile, options.callers, options.rounds, options.requests)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result file, print the table."""
    parser = CommandLine(prog="python -m benchmarks stage2", description=__doc__)
    subject.add_options(parser)
    add_rounds(parser)
    results.add_output(parser, "stage2")
    options = parser.parse_args(argv)
    options.pose = options.pose or constructed_network(subject.BUILT, GRAPH_PCNN)
    with subject.prepared(options) as measured:
        result = _measure(measured, Rounds.of(options))
    results.write(options.output, {**measured.about, **result}, profile=options.profile)
    print(as_table(result))
    return 0


def add_rounds(parser: argparse.ArgumentParser) -> None:
    """Add the options of `Rounds`."""
    parser.add_argument("--profile", default="cpu", help="default: %(default)s")
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=16, help="requests per round, of 8 people each")


def as_table(result: dict[str, Any]) -> str:
    """Return a result as a Markdown table."""
    return results.as_table([*result], [[*result.values()]])


def medians(
    measured: subject.Subject,
    model: str,
    rounds: Rounds,
    sample: Callable[[], dict[str, float]],
    floors: Sequence[floor.NetworkFloor],
) -> dict[str, float]:
    """Return medians over the rounds, after one that warms up.

    Args:
        measured: the networks and pictures.
        model: ensemble that the callers ask.
        rounds: the load.
        sample: measures what concerns the networks alone.
        floors: the networks that a person needs. The server is compared with the sum of their times.
    """
    samples = list[dict[str, float]]()
    with measured.serve(rounds.profile) as server, contextlib.ExitStack() as stack:
        for _ in range(rounds.rounds + 1):
            own = sample()
            make = functools.partial(_caller, stack, server.grpc_url, model)
            load = drive(make, measured.pictures, rounds.callers, rounds.requests, rounds.callers)
            floor_per_s = 1 / sum(each.seconds_per_row() for each in floors)
            served_per_s = load.pictures_per_s * BATCH
            own |= {"floor_people_per_s": floor_per_s, "server_people_per_s": served_per_s}
            samples.append(own | {"share_of_floor": served_per_s / floor_per_s})
    return {name: median(each[name] for each in samples[1:]) for name in samples[0]} | {"batch": BATCH}


def random_rows(path: Path) -> floor.Rows:
    """Return random values for the inputs of a served network: BATCH rows of pixels or of coordinates in -1 to 1."""
    random, graph = np.random.default_rng(0), onnx.load(path).graph
    rows: dict[str, Any] = {}
    for value in graph.input:
        shape = (BATCH, *(dim.dim_value for dim in value.type.tensor_type.shape.dim[1:]))
        pixels = value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
        rows[value.name] = random.integers(0, 256, shape, np.uint8) if pixels else random.uniform(-1, 1, shape)
    return {name: each if each.dtype == np.uint8 else each.astype(np.float32) for name, each in rows.items()}


def _measure(measured: subject.Subject, rounds: Rounds) -> dict[str, float]:
    whole = measured.repository / measured.network / "1" / "model.onnx"
    people, threads = random_rows(whole), os.cpu_count() or 1
    both, first = (floor.session(path, threads) for path in (whole, _stage1(whole, measured.folder / "stage1.onnx")))

    def sample() -> dict[str, float]:
        stage1_s, both_s = (floor.seconds_of_run(functools.partial(run, people)) for run in (first, both))
        return {
            "stage1_ms": stage1_s * 1000,
            "both_ms": both_s * 1000,
            "stage2_share_of_stage1": both_s / stage1_s - 1,
        }

    return medians(measured, "pose", rounds, sample, [floor.NetworkFloor(whole, people)])


def _caller(stack: contextlib.ExitStack, url: str, model: str) -> Call:
    client = stack.enter_context(PoseClient(url, model=model, timeout_s=120))
    corners = np.random.default_rng(1).uniform((0, 0), (200, 150), (BATCH, 2))
    boxes = np.hstack([corners, corners + np.array((90, 180))])
    return lambda picture: len(client.estimate_boxes(picture, boxes).bboxes)


def _stage1(path: Path, output: Path) -> Path:
    """Write the part of a served Graph-PCNN that its coarse keypoints need."""
    inputs = [value.name for value in onnx.load(path).graph.input]
    onnx.utils.extract_model(str(path), str(output), inputs, [COARSE_KEYPOINTS.name, GRID_SCORES.name])
    return output
