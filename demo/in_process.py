"""The served chain without a server: the same ONNX files and the same steps, in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from ensemble.crop import centers_and_scales, crop_persons
from ensemble.graph.networks import Network
from ensemble.letterbox import letterbox, letterbox_ratio
from ensemble.persons import select_persons
from ensemble.simcc import bins_to_picture, decode_simcc
from numpy.typing import NDArray

from demo.effects import decode
from export.pose_file import serve_pose_file
from export.served_detector import ServedDetector
from export.yolox_file import serve_yolox_file

Floats = NDArray[np.float32]


class Estimate(NamedTuple):
    """The answer for one picture, as the `pose` ensemble gives it.

    Attributes:
        bboxes: (N, 4) picture pixels, best score first.
        bbox_scores: (N,).
        keypoints: (N, 133, 2) picture pixels.
        keypoint_scores: (N, 133).
    """

    bboxes: Floats
    bbox_scores: Floats
    keypoints: Floats
    keypoint_scores: Floats


Estimator = Callable[[bytes], Estimate]


def in_process(pose: Path, detector: Path, bbox_threshold: float = 0.5, nms_threshold: float = 0.45) -> Estimator:
    """Return the chain from an encoded picture to people, for the given ONNX files."""
    look = serve_pose_file(pose)
    model = look.model.SerializeToString()
    return chain_of(serve_yolox_file(detector), look.network, model, bbox_threshold, nms_threshold)


def chain_of(
    find: ServedDetector, network: Network, model: bytes, bbox_threshold: float = 0.5, nms_threshold: float = 0.45
) -> Estimator:
    """Return the chain for a detector and a pose network in served form; `model` is the latter's ONNX file."""
    size = find.detector.input_size
    finder, looker = _session(find.model.SerializeToString()), _session(model)

    def estimate(picture: bytes) -> Estimate:
        image = decode(picture)
        ratio = letterbox_ratio((image.shape[1], image.shape[0]), size)
        boxes, scores = finder.run(None, {"letterboxed": letterbox(image, size)[None]})
        limits = {"bbox_threshold": bbox_threshold, "nms_threshold": nms_threshold, "max_persons": 32}
        people = select_persons(boxes[0], scores[0], ratio=ratio, **limits)  # type: ignore[arg-type]
        if not len(people.bboxes):
            return Estimate(
                people.bboxes, people.scores, np.zeros((0, 133, 2), np.float32), np.zeros((0, 133), np.float32)
            )
        centers, scales = centers_and_scales(people.bboxes, network.input_size)
        crops = crop_persons(image, centers, scales, network.input_size)
        simcc_x, simcc_y = looker.run(None, {"crops": crops})
        bins, keypoint_scores = decode_simcc(simcc_x, simcc_y)
        keypoints = bins_to_picture(bins, network.bins, centers, scales)
        return Estimate(people.bboxes, people.scores, keypoints, keypoint_scores)

    return estimate


def _session(model: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
