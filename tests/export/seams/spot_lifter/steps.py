from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ensemble.geometry import TopDownCrop
from ensemble.steps import Step
from ensemble.tensors import IMAGE_BGR, KEYPOINTS, Tensor

LIFT_CROPS = Tensor("lift_crops", "UINT8", (-1, -1, 3), "the square around a person's keypoints")
KEYPOINTS_IMAGE = Tensor("keypoints_image", "FP32", (17, 2), "x, y in pixels of the picture")
KEYPOINTS_CROP = Tensor("keypoints_crop", "FP32", (17, 2), "x, y relative to the crop")
LIFTED = Tensor("lifted", "FP32", (17, 3), "x, y, z")
KEYPOINTS_3D = Tensor("keypoints_3d", "FP32", (-1, 17, 3), "[N,17,3]")


@dataclass(frozen=True)
class LiftInputs(Step):
    input_width: int
    input_height: int

    weight: ClassVar[str] = "pixels"
    inputs = (IMAGE_BGR, KEYPOINTS)

    @property
    def outputs(self):
        crops = LIFT_CROPS.sized(self.input_height, self.input_width, 3)
        return crops.many(), KEYPOINTS_IMAGE.many(), KEYPOINTS_CROP.many()

    def run(self, request):
        """Return the network's inputs; one item of zeros without persons, because Triton rejects an empty batch."""
        keypoints = request.tensors["keypoints"]
        if not len(keypoints):
            return {tensor.name: np.zeros((1, *tensor.dims[1:]), self._dtype(tensor)) for tensor in self.outputs}
        crop = TopDownCrop((self.input_width, self.input_height), padding=1.5)
        low, high = keypoints.min(axis=1), keypoints.max(axis=1)
        centers, scales = crop.regions(np.concatenate([low, high + 1], axis=1))
        in_crop = (keypoints - centers[:, None]) / scales[:, None] + np.float32(0.5)
        crops = crop.apply(request.tensors["image_bgr"], centers, scales)
        return {"lift_crops": crops, "keypoints_image": keypoints, "keypoints_crop": in_crop}

    @staticmethod
    def _dtype(tensor):
        return np.uint8 if tensor.dtype == "UINT8" else np.float32


@dataclass(frozen=True)
class LiftOutputs(Step):
    name: str = "lift_outputs"
    inputs = (LIFTED.many(), KEYPOINTS)
    outputs = (KEYPOINTS_3D,)

    def run(self, request):
        return {"keypoints_3d": request.tensors["lifted"][: len(request.tensors["keypoints"])]}
