"""A network on the caller's pictures: what it takes, what its people are, and how far another version is from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ensemble.in_process import InProcess
from ensemble.networks import DETECTOR, Detector, Network
from ensemble.pipeline import Pipeline
from ensemble.pipelines import decode_image
from ensemble.pipelines.lifted import LiftingNetwork
from ensemble.steps import Arrays
from ensemble.steps.select_persons import SelectPersons
from ensemble.tensors import BBOX_SCORES, BBOXES, IMAGE, IMAGE_BGR, PERSONS_DETECTED
from export import graph_edit
from export.comparison import joined
from export.detectors import DetectorOptions, serve_detector_file
from export.families import PoseOptions, serve_pose_file

Run = Callable[[Arrays], Arrays]
"""A network in served form: inputs by name -> outputs by name."""
_NO_DETECTOR = Detector((64, 64), 1)  # a pipeline of given boxes states a detector's size and does not run it
_PREFIX = "network/"  # of the exported file's tensors in served form


@dataclass(frozen=True)
class Trial:
    """A network and the pipeline around it.

    Attributes:
        network: the network in question.
        graph: its float32 graph in served form.
        input_name: name of the input in the exported file.
        in_process: the pipeline, with float32 networks.
        serve: returns the served form of a file with another version of the network.
        keypoint_set: name of the keypoint set; "" for a detector.
        kind: kind of the pipeline, as callers read it; "" for a detector.
        given_boxes: whether the pipeline takes boxes.
    """

    network: Network
    graph: onnx.ModelProto
    input_name: str
    in_process: InProcess
    serve: Callable[[Path], onnx.ModelProto]
    keypoint_set: str = ""
    kind: str = ""
    given_boxes: bool = False

    def sample(self, picture: bytes, boxes: NDArray[np.float32] | None) -> dict[str, NDArray[Any]]:
        """Run the pipeline on a picture. Return its tensors, without the pixels of the picture.

        Raises:
            ValueError: the picture cannot be decoded, or a box is empty.
        """
        given: Arrays = {BBOXES.name: np.zeros((0, 4), np.float32) if boxes is None else boxes}
        parts = self._requests(given) if self.given_boxes else [{}]
        wanted = [tensor.name for tensor in self.in_process.pipeline.outputs]
        answers = (self.in_process.tensors(wanted, {}, {"image": picture, **part}) for part in parts)
        pixels = (IMAGE.name, IMAGE_BGR.name)
        return joined([{name: array for name, array in each.items() if name not in pixels} for each in answers])

    def answer(self, sample: Arrays, run: Run) -> dict[str, NDArray[Any]]:
        """Return a sample's tensors with another version of the network."""
        inputs = {tensor.name: sample[tensor.name] for tensor in self.network.inputs}
        outputs = joined([run(part) for part in self._requests(inputs)])
        return self.in_process.after(self.network.name, {**sample, **outputs}, {})

    def inner_inputs(self, samples: Sequence[Arrays]) -> list[dict[str, NDArray[Any]]]:
        """Return what the exported file takes, one item each, for the samples; nothing for pictures without people.

        Raises:
            ValueError: the network takes crops of people, and no sample has any.
        """
        first = f"{_PREFIX}{self.input_name}"
        session = graph_edit.cpu_session(graph_edit.with_outputs(self.graph, [first]), 1)
        feeds: list[dict[str, NDArray[Any]]] = []
        for sample in samples:
            if self.network.per_person and not len(sample[BBOXES.name]):
                continue  # its only crop is black
            inputs = {tensor.name: sample[tensor.name] for tensor in self.network.inputs}
            for part in self._requests(inputs):
                (arrays,) = session.run([first], part)
                feeds += [{self.input_name: array[None]} for array in arrays]
        if not feeds:
            raise ValueError(
                f"no person is found on the {len(samples)} pictures that calibrate; add pictures with people"
            )
        return feeds

    def _requests(self, inputs: Arrays) -> list[Arrays]:
        """Return inputs with one row a person in parts that the network takes at once; other inputs as they are."""
        if not self.network.per_person:
            return [inputs]
        count, most = max(1, len(next(iter(inputs.values())))), self.network.max_batch_size
        return [{name: array[at : at + most] for name, array in inputs.items()} for at in range(0, count, most)]


def pose_trial(
    path: Path,
    detector: Path | None,
    options: PoseOptions | None = None,
    detector_options: DetectorOptions | None = None,
) -> Trial:
    """Return the trial of a pose network.

    Args:
        path: its file.
        detector: file of the detector that finds the people for a top-down network; None: their boxes are given.
        options: overrides for its file.
        detector_options: overrides for the detector's file.

    Raises:
        ValueError: a file cannot be served, or the network is a lifter.
    """

    def serve(file: Path) -> onnx.ModelProto:
        again = serve_pose_file(file, options)
        return again.graphs[again.model.name]

    served = serve_pose_file(path, options)
    if isinstance(served.model, LiftingNetwork):
        raise ValueError(f"{path} is a lifter, which stays in float32; quantise the pose network below it")
    graph = served.graphs[served.model.name]
    found = serve_detector_file(detector, detector_options) if detector else None
    known = served.model.pipelines([served.model], found.detector if found else _NO_DETECTOR)
    pipeline = known[0] if found or len(known) == 1 else known[1]
    network = next(each for each in pipeline.members if each.name == served.model.name)
    graphs = {served.model.name: graph.SerializeToString()}
    if found:
        graphs[found.detector.network.name] = found.model.SerializeToString()
    assert isinstance(network, Network)
    given = BBOXES.name in {tensor.name for tensor in pipeline.inputs}
    facts, run = pipeline.parameters, InProcess(pipeline, graphs)
    return Trial(network, graph, _input_of(path), run, serve, facts["keypoint_set"], facts["kind"], given)


def detector_trial(path: Path, options: DetectorOptions | None = None) -> Trial:
    """Return the trial of a detector.

    Args:
        path: its file.
        options: overrides for its file.

    Raises:
        ValueError: the file cannot be served.
    """
    found = serve_detector_file(path, options)
    size, threshold = found.detector.input_size, found.detector.bbox_threshold
    members = (decode_image(found.detector), found.detector.network, SelectPersons("select_persons", *size, threshold))
    pipeline = Pipeline("detect", (IMAGE,), members, (BBOXES, BBOX_SCORES, PERSONS_DETECTED))
    network, run = found.detector.network, InProcess(pipeline, {DETECTOR: found.model.SerializeToString()})
    return Trial(network, found.model, _input_of(path), run, lambda file: serve_detector_file(file, options).model)


def _input_of(path: Path) -> str:
    return str(graph_edit.load(path).graph.input[0].name)
