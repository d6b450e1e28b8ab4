from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from ensemble.request_parameters import RequestParameters, parse_parameters
from ensemble.steps import Step
from ensemble.tensors import (
    BBOX_SCORES,
    BBOXES,
    IMAGE_BGR,
    IMAGE_SIZE,
    KEYPOINT_SCORES,
    KEYPOINTS,
    PERSONS_DETECTED,
    Tensor,
)

FITTED = Tensor("fitted", "UINT8", (-1, -1, 3), "the picture, 256 pixels long, padded to multiples of 64")
CANDIDATES = Tensor("candidates", "FP32", (200, 17, 2), "x, y in pixels of `fitted`")
CANDIDATE_SCORES = Tensor("candidate_scores", "FP32", (200,))
LONGEST, MULTIPLE = 256, 64


def fit(width, height):
    ratio = LONGEST / max(width, height)
    return ratio, (max(1, round(width * ratio)), max(1, round(height * ratio)))


@dataclass(frozen=True)
class FitPicture(Step):
    name: str = "fit_picture"
    weight: ClassVar[str] = "pixels"
    inputs = (IMAGE_BGR,)
    outputs = (FITTED,)

    def run(self, request):
        image_bgr = request.tensors["image_bgr"]
        _, (width, height) = fit(image_bgr.shape[1], image_bgr.shape[0])
        padded = [-(-side // MULTIPLE) * MULTIPLE for side in (height, width)]
        fitted = np.zeros((*padded, 3), np.uint8)
        fitted[:height, :width] = cv2.resize(image_bgr, (width, height), interpolation=cv2.INTER_AREA)
        return {"fitted": fitted}


@dataclass(frozen=True)
class SelectPeople(Step):
    name: str = "select_people"
    bbox_threshold: float = 0.5
    refusals: ClassVar[tuple[str, ...]] = ("parameters",)
    inputs = (CANDIDATES, CANDIDATE_SCORES, IMAGE_SIZE)
    outputs = (BBOXES, BBOX_SCORES, KEYPOINTS, KEYPOINT_SCORES, PERSONS_DETECTED)

    def run(self, request):
        if "nms_threshold" in request.parameters:
            raise ValueError("request parameter nms_threshold does not apply to this network; leave it out")
        options = parse_parameters(request.parameters, RequestParameters(bbox_threshold=self.bbox_threshold))
        points, scores, size = (request.tensors[tensor.name] for tensor in self.inputs)
        found = int((scores >= options.bbox_threshold).sum())  # best first
        kept = min(found, options.max_persons)
        keypoints = points[:kept] / np.float32(fit(*size.tolist())[0])
        return {
            "bboxes": np.concatenate([keypoints.min(axis=1), keypoints.max(axis=1)], axis=1),
            "bbox_scores": scores[:kept],
            "keypoints": keypoints,
            "keypoint_scores": np.repeat(scores[:kept, None], points.shape[1], axis=1),
            "persons_detected": np.array([found], np.int32),
        }
