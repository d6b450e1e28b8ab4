"""The usual way without a server: one picture after the other, one person in each run of the pose network.

The inference loops of pose toolkits do this. The steps are the served ones, so that both ways find the same people. The
networks are the files before anything is folded into them.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ensemble.geometry import Floats, Letterbox, TopDownCrop
from ensemble.request_parameters import RequestParameters
from ensemble.steps.decode_image import PictureLimits, decode_picture
from ensemble.steps.decode_simcc import decode_simcc
from ensemble.steps.select_persons import select_persons
from export import graph_edit
from export.detectors.yolox import grid
from export.families.top_down import MEAN, STD


class UsualPipeline:
    """Detector and pose network as sessions of this process.

    Args:
        pose: CIGPose ONNX file, whose input is normalised RGB.
        detector: raw YOLOX file.
        threads: threads of each session.

    Attributes:
        size: (w, h) of the detector's input.
        crop_size: (w, h) of the pose network's input.
    """

    def __init__(self, pose: Path, detector: Path, threads: int):
        self._pose, self._detector = (
            graph_edit.cpu_session(graph_edit.load(path), threads) for path in (pose, detector)
        )
        self.crop_size, self.size = (
            (session.get_inputs()[0].shape[3], session.get_inputs()[0].shape[2])
            for session in (self._pose, self._detector)
        )
        self._cells, self._strides = grid(self.size)

    def __call__(self, encoded: bytes) -> tuple[Floats, Floats, Floats]:
        """Return bboxes (N, 4), keypoints (N, K, 2) and keypoint scores (N, K) of one encoded picture."""
        image_bgr = decode_picture(encoded, PictureLimits())
        bboxes = self._detect(image_bgr)
        answers = [self._estimate(image_bgr, bbox[None]) for bbox in bboxes]
        if not answers:
            return bboxes, np.zeros((0, 0, 2), np.float32), np.zeros((0, 0), np.float32)
        keypoints, scores = (np.concatenate(arrays) for arrays in zip(*answers, strict=True))
        return bboxes, keypoints, scores

    def _detect(self, image_bgr: NDArray[np.uint8]) -> Floats:
        letterbox = Letterbox(self.size)
        tensor = letterbox.apply(image_bgr).transpose(2, 0, 1)[None].astype(np.float32)
        raw = self._detector.run(None, {self._detector.get_inputs()[0].name: tensor})[0][0]
        center, half = (raw[:, :2] + self._cells) * self._strides, np.exp(raw[:, 2:4]) * self._strides / 2
        boxes, scores = np.hstack([center - half, center + half]), raw[:, 4] * raw[:, 5]
        persons = select_persons(boxes, scores, RequestParameters())
        return letterbox.to_picture(persons.bboxes, (image_bgr.shape[1], image_bgr.shape[0]))

    def _estimate(self, image_bgr: NDArray[np.uint8], bbox: Floats) -> tuple[Floats, Floats]:
        crop = TopDownCrop(self.crop_size)
        centers, scales = crop.regions(bbox)
        pixels = crop.apply(image_bgr, centers, scales)[..., ::-1].transpose(0, 3, 1, 2)
        mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in (MEAN, STD))
        feeds = {self._pose.get_inputs()[0].name: (pixels.astype(np.float32) - mean) / std}
        simcc_x, simcc_y = self._pose.run(None, feeds)
        bins, scores = decode_simcc(simcc_x, simcc_y)
        return crop.to_picture(bins, (simcc_x.shape[2], simcc_y.shape[2]), centers, scales), scores
