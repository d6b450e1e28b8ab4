"""`python -m benchmarks stage2`: the cost of Graph-PCNN's second stage, and its server's share of the network's floor.

Each round measures stage 1 alone, both stages, the floor, and the server, which is asked for given boxes.
"""

import contextlib
import functools
import os
from collections.abc import Sequence
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

_BATCH = 8


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the result file, print the table."""
    parser = CommandLine(prog="python -m benchmarks stage2", description=__doc__)
    subject.add_options(parser)
    parser.add_argument("--profile", default="cpu", help="default: %(default)s")
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=16, help="requests per round, of 8 people each")
    results.add_output(parser, "stage2")
    options = parser.parse_args(argv)
    options.pose = options.pose or constructed_network(subject.BUILT, GRAPH_PCNN)
    with subject.prepared(options) as measured:
        result = _measure(measured, options.profile, options.callers, options.rounds, options.requests)
    results.write(options.output, {**measured.about, **result}, profile=options.profile)
    print(as_table(result))
    return 0


def as_table(result: dict[str, Any]) -> str:
    """Return a result as a Markdown table."""
    return results.as_table([*result], [[*result.values()]])


def _measure(measured: subject.Subject, profile: str, callers: int, rounds: int, requests: int) -> dict[str, Any]:
    whole = measured.repository / measured.network / "1" / "model.onnx"
    people = np.random.default_rng(0).uniform(0, 256, _shape(whole)).astype(np.uint8)
    threads = os.cpu_count() or 1
    both, first = (floor.session(path, threads) for path in (whole, _stage1(whole, measured.folder / "stage1.onnx")))
    least, samples = floor.NetworkFloor(whole, people), list[dict[str, float]]()
    with measured.serve(profile) as server, contextlib.ExitStack() as stack:
        for number in range(rounds + 1):
            stage1_s, both_s = (floor.seconds_of_run(functools.partial(run, people)) for run in (first, both))
            load = drive(lambda: _caller(stack, server.grpc_url), measured.pictures, callers, requests, callers)
            floor_per_s, served_per_s = 1 / least.seconds_per_row(), load.pictures_per_s * _BATCH
            sample = {
                "stage1_ms": stage1_s * 1000,
                "both_ms": both_s * 1000,
                "stage2_share_of_stage1": both_s / stage1_s - 1,
                "floor_people_per_s": floor_per_s,
                "server_people_per_s": served_per_s,
                "share_of_floor": served_per_s / floor_per_s,
            }
            samples += [sample] if number else []  # the first round warms up
    return {name: median(sample[name] for sample in samples) for name in samples[0]} | {"batch": _BATCH}


def _caller(stack: contextlib.ExitStack, url: str) -> Call:
    client = stack.enter_context(PoseClient(url, timeout_s=120))
    corners = np.random.default_rng(1).uniform((0, 0), (200, 150), (_BATCH, 2))
    boxes = np.hstack([corners, corners + np.array((90, 180))])
    return lambda picture: len(client.estimate_boxes(picture, boxes).bboxes)


def _shape(path: Path) -> tuple[int, ...]:
    dims = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    return (_BATCH, *(dim.dim_value for dim in dims[1:]))


def _stage1(path: Path, output: Path) -> Path:
    """Write the part of a served Graph-PCNN that its coarse keypoints need."""
    inputs = [value.name for value in onnx.load(path).graph.input]
    onnx.utils.extract_model(str(path), str(output), inputs, [COARSE_KEYPOINTS.name, GRID_SCORES.name])
    return output
