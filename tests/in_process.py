"""The graph without Triton: the same functions and the repository's own ONNX files, called one after the other."""

from pathlib import Path

import numpy as np
import onnxruntime
from ensemble.crop import centers_and_scales, crop_persons
from ensemble.letterbox import letterbox, letterbox_ratio
from ensemble.persons import select_persons
from ensemble.picture import PictureLimits, decode_picture
from ensemble.simcc import bins_to_picture, decode_simcc

from ensemble.request_parameters import RequestParameters


class InProcess:
    """What `pose` and `pose_from_boxes` of a repository must answer, for one of its networks."""

    def __init__(self, repository: Path, network: str):
        self.detector = _session(repository / "detector" / "1" / "model.onnx")
        self.network = _session(repository / network / "1" / "model.onnx")
        self.letterbox_size = self.detector.get_inputs()[0].shape[2:0:-1]
        self.input_size = tuple(self.network.get_inputs()[0].shape[2:0:-1])

    def estimate(self, encoded: bytes, **options):
        image_bgr = decode_picture(encoded, PictureLimits())
        options = RequestParameters(**options)
        height, width = image_bgr.shape[:2]
        boxes, scores = self.detector.run(None, {"letterboxed": letterbox(image_bgr, self.letterbox_size)[None]})
        persons = select_persons(
            boxes[0], scores[0], ratio=letterbox_ratio((width, height), self.letterbox_size), **vars(options)
        )
        keypoints, keypoint_scores = self._keypoints(image_bgr, persons.bboxes)
        return persons.bboxes, persons.scores, keypoints, keypoint_scores, persons.detected

    def estimate_boxes(self, encoded: bytes, bboxes):
        return self._keypoints(decode_picture(encoded, PictureLimits()), bboxes)

    def _keypoints(self, image_bgr, bboxes):
        centers, scales = centers_and_scales(bboxes, self.input_size)
        crops = crop_persons(image_bgr, centers, scales, self.input_size)
        simcc_x, simcc_y = self.network.run(
            None, {"crops": crops if len(crops) else np.zeros((1, *crops.shape[1:]), np.uint8)}
        )
        bins, scores = decode_simcc(simcc_x[: len(bboxes)], simcc_y[: len(bboxes)])
        return bins_to_picture(bins, (simcc_x.shape[2], simcc_y.shape[2]), centers, scales), scores


def _session(path: Path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
