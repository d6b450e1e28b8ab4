"""Compares the answers of every network of a repository, run by ONNX Runtime in process and by a server."""

import contextlib
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import tritonclient.grpc
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from ensemble.in_process import InProcess
from ensemble.networks import Network
from ensemble.pipeline import Pipeline
from ensemble.steps import Arrays, Request, Step
from ensemble.tensors import BBOXES, KEYPOINTS, Tensor
from ensemble.triton.stored import read_pipelines, run_here
from export.comparison import Answers, Difference, difference, joined

Items: TypeAlias = NDArray[np.intp] | slice

_PICTURE = (480, 640)  # height, width
_BATCH = 8
_TIMEOUT_S = 60.0
_ROUNDED = ("fp16", "int8")  # precisions of files that OpenVINO and TensorRT round in other places than ONNX Runtime


@dataclass(frozen=True)
class Member:
    """A network and the pipeline that runs it.

    Attributes:
        network: the network to verify.
        run: the pipeline, in process.
        decoder: the step that decodes the network's outputs to keypoints, if there is one.
    """

    network: Network
    run: InProcess
    decoder: Step | None

    def samples(self, count: int) -> list[Arrays]:
        """Return all tensors of the pipeline for `count` given boxes, or as many pictures; the same every time."""
        pipeline = self.run.pipeline
        wanted = [tensor.name for tensor in pipeline.outputs]
        step = min(_BATCH, int(pipeline.parameters["max_persons"])) if BBOXES in pipeline.inputs else 1
        return [
            self.run.tensors(wanted, {}, _inputs(pipeline, first, min(step, count - first)))
            for first in range(0, count, step)
        ]

    def keypoints(self, tensors: Arrays, answers: Answers) -> NDArray[Any]:
        """Return the keypoints that the decoder makes of other answers of the network; none without a decoder."""
        if self.decoder is None:
            return np.empty((0, 0, 2))
        return self.decoder.run(Request({**tensors, **answers}, {}, frozenset({KEYPOINTS.name})))[KEYPOINTS.name]


@dataclass(frozen=True)
class Finding:
    """The difference between two ways to run one network.

    Attributes:
        network: name of the network.
        compared: names of the two ways.
        difference: difference of the outputs.
        bound: allowed `difference.rms`; infinite for a difference that is shown for information only.
        moved_px: distance between the two positions of each keypoint, in picture pixels.
    """

    network: str
    compared: str
    difference: Difference
    bound: float
    moved_px: NDArray[Any]

    @property
    def passed(self) -> bool:
        """Whether the difference is within the bound; false for NaN, whatever the bound."""
        return self.difference.rms <= self.bound

    def __str__(self) -> str:
        """Return one line for people."""
        allowed = "for information" if math.isinf(self.bound) else f"allowed {self.bound:g}"
        line = f"{self.network}: {self.compared}: {self.difference}, {allowed}"
        line += "" if self.passed else " EXCEEDED"
        moved = self.moved_px
        return line + (f"; keypoints moved {moved.mean():.3f} px, {moved.max():.2f} at most" if moved.size else "")


def members(repository: Path) -> dict[str, Member]:
    """Return every network of a repository by name, in a pipeline that takes boxes if there is one.

    Raises:
        ValueError: the repository has no network.
    """
    found: dict[str, Member] = {}
    for pipeline in sorted(read_pipelines(repository), key=lambda pipeline: BBOXES not in pipeline.inputs):
        new = [each for each in pipeline.members if isinstance(each, Network) and each.name not in found]
        run = run_here(repository, pipeline.name, threads=0)
        found |= {network.name: Member(network, run, _decoder(pipeline, network)) for network in new}
    if not found:
        raise ValueError(f"{repository} holds no pipeline; write one with `python -m export repository`")
    return found


def compare(
    member: Member,
    compared: str,
    bound: float,
    samples: Sequence[Arrays],
    ways: tuple[Sequence[Answers], Sequence[Answers]],
    items: Items = slice(None),
) -> Finding:
    """Measure the difference between the answers of two ways to run a network.

    Args:
        member: the network.
        compared: names of the two ways.
        bound: bound on the rms difference.
        samples: see `Member.samples`.
        ways: for each way, the answers to each sample.
        items: indices of the items to compare.

    Raises:
        ValueError: the shapes differ.
    """
    all_answers = [joined(way) for way in ways]
    answers = [{name: array[items] for name, array in each.items()} for each in all_answers]
    points = [np.concatenate([member.keypoints(*pair) for pair in zip(samples, way, strict=True)]) for way in ways]
    alike = points[0].shape == points[1].shape  # rounding at a threshold may drop a person
    moved = np.linalg.norm(points[0] - points[1], axis=-1) if alike and points[0].size else np.empty(0)
    if len(moved) == len(next(iter(all_answers[0].values()))):  # not so where the decoder selects among the items
        moved = moved[items]
    return Finding(member.network.name, compared, difference(*answers), bound, moved)


def named(tensors: Arrays, declared: Sequence[Tensor]) -> Answers:
    """Return the declared tensors only, by name."""
    return {tensor.name: tensors[tensor.name] for tensor in declared}


def ask(client: tritonclient.grpc.InferenceServerClient, network: Network, inputs: Arrays) -> Answers:
    """Let a server run a network.

    Raises:
        ValueError: the server does not answer (the message says why).
    """
    tensors = [tritonclient.grpc.InferInput(each.name, inputs[each.name].shape, each.dtype) for each in network.inputs]
    for tensor in tensors:
        tensor.set_data_from_numpy(inputs[tensor.name()])
    try:
        result = client.infer(network.name, tensors, client_timeout=_TIMEOUT_S)
    except InferenceServerException as error:
        raise ValueError(f"{network.name}: {error.message()}") from error
    return {tensor.name: result.as_numpy(tensor.name) for tensor in network.outputs}


def reduced_precision(client: tritonclient.grpc.InferenceServerClient, network: Network) -> str:
    """Return the precision below float32 in which OpenVINO or TensorRT serve a network, such as BF16; "" if none.

    Raises:
        ValueError: the server does not answer (the message says why).
    """
    try:
        accelerators = client.get_model_config(network.name).config.optimization.execution_accelerators
    except InferenceServerException as error:
        raise ValueError(f"{network.name}: {error.message()}") from error
    asked = [*accelerators.cpu_execution_accelerator, *accelerators.gpu_execution_accelerator]
    stated = [
        value for each in asked for key, value in each.parameters.items() if key in ("precision", "precision_mode")
    ]
    in_file = [network.source.get("precision", "")] if asked else []
    return next((each for each in in_file if each in _ROUNDED), next((each for each in stated if each != "FP32"), ""))


@contextlib.contextmanager
def server_of(repository: Path, profile: str) -> Iterator[str]:
    """Serve the repository on a free port and yield the gRPC address.

    Raises:
        ValueError: the server does not start (the message gives the reason).
    """
    from server.process import ServerOptions, free_port, running_server  # not needed with a given address

    options = ServerOptions(repository, grpc_port=free_port(), http_port=0, metrics_port=0, profile=profile)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        try:
            running = stack.enter_context(running_server(options, log=Path(folder) / "server.log"))
        except RuntimeError as error:
            raise ValueError(str(error)) from error
        yield running.grpc_url


def _decoder(pipeline: Pipeline, network: Network) -> Step | None:
    answered = {tensor.name for tensor in network.outputs}
    for step in pipeline.members:
        made = {tensor.name for tensor in step.outputs}
        if isinstance(step, Step) and KEYPOINTS.name in made and answered & {tensor.name for tensor in step.inputs}:
            return step
    return None


def _inputs(pipeline: Pipeline, seed: int, boxes: int) -> dict[str, Any]:
    """Return an encoded picture of blocks under noise, and boxes in it where the pipeline takes them."""
    generator, (height, width) = np.random.default_rng(seed), _PICTURE
    blocks = generator.normal(0, 1, (height // 16, width // 16, 3)).repeat(16, axis=0).repeat(16, axis=1)
    pixels = np.clip(118 + 58 * (blocks + generator.normal(0, 0.3, blocks.shape)), 0, 255).astype(np.uint8)
    corners = generator.uniform((0, 0), (width / 2, height / 2), (boxes, 2))
    bboxes = np.hstack([corners, corners + generator.uniform((60, 120), (width / 2, height / 2), (boxes, 2))])
    inputs = {"image": cv2.imencode(".png", pixels)[1].tobytes(), "bboxes": bboxes.astype(np.float32)}
    return {tensor.name: inputs[tensor.name] for tensor in pipeline.inputs}
