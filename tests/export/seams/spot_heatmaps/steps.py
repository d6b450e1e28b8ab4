from dataclasses import dataclass

import numpy as np

from ensemble.geometry import TopDownCrop
from ensemble.steps import Step
from ensemble.tensors import CENTERS, KEYPOINT_SCORES, KEYPOINTS, SCALES, Tensor

HEATMAPS = Tensor("heatmaps", "FP32", (-1, -1, -1), "[K,h,w]")


@dataclass(frozen=True)
class DecodeHeatmaps(Step):
    name: str = "decode_heatmaps"
    inputs = (HEATMAPS.many(), CENTERS, SCALES)
    outputs = (KEYPOINTS, KEYPOINT_SCORES)

    def run(self, request):
        heatmaps, centers, scales = (request.tensors[tensor.name] for tensor in self.inputs)
        _, keypoints, height, width = heatmaps.shape
        flat = heatmaps[: len(centers)].reshape(len(centers), keypoints, height * width)
        y, x = np.divmod(flat.argmax(axis=2), width)
        cells = np.stack([x, y], axis=2).astype(np.float32)
        points = TopDownCrop.to_picture(cells, (width, height), centers, scales)
        return {"keypoints": points, "keypoint_scores": flat.max(axis=2)}
