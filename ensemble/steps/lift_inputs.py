"""Picture and 2-D keypoints -> what a lifter takes: a crop around the pelvis, and the joints in two frames."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ensemble.geometry import Floats, PelvisCrop, Size
from ensemble.keypoints import keypoint_set
from ensemble.keypoints.human36m import ROOT, pixels_per_metre, to_human36m
from ensemble.steps import Arrays, Request, Step, Weight
from ensemble.tensors import IMAGE_BGR, KEYPOINTS, KEYPOINTS_CROP, KEYPOINTS_IMAGE, LIFT_CROPS, Tensor

# The networks were trained on a region of 2 m around a point 0.1 m below the true pelvis. The pelvis is estimated here.
_WIDTH_M, _BELOW_PELVIS_M = 2.0, 0.1
_LEAST_WIDTH = 2.0  # in pixels: one step of the picture across the crop
_JOINTS = len(keypoint_set("human36m"))


@dataclass(frozen=True)
class LiftInputs(Step):
    """Keypoints of one set -> crops and joints for a lifter of Human3.6M's order.

    Attributes:
        input_width: width of a crop.
        input_height: height of a crop.
        max_crops: the lifter's `max_batch_size`, and therefore most persons in one request.
        keypoint_set: the set of the keypoints.
    """

    input_width: int
    input_height: int
    max_crops: int
    keypoint_set: str

    weight: ClassVar[Weight] = "pixels"
    inputs = (IMAGE_BGR, KEYPOINTS)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The crops and the joints in both frames."""
        crops = LIFT_CROPS.sized(self.input_height, self.input_width, 3)
        return tuple(
            each.many() for each in (crops, KEYPOINTS_IMAGE.sized(_JOINTS, 2), KEYPOINTS_CROP.sized(_JOINTS, 2))
        )

    def run(self, request: Request) -> Arrays:
        """Cut the crops and place the joints. Without persons, return one black crop: Triton rejects an empty batch."""
        image_bgr, keypoints = (request.tensors[tensor.name] for tensor in self.inputs)
        persons = len(keypoints)
        if persons > self.max_crops:
            raise ValueError(
                f"keypoints_3d: {persons} persons are more than this lifter's limit of {self.max_crops} a request; "
                "send fewer boxes, set max_persons, or leave keypoints_3d out"
            )
        if not persons:
            keypoints = np.zeros((1, *keypoints.shape[1:]), np.float32)
        height, width = image_bgr.shape[:2]
        joints, crop = to_human36m(keypoints, self.keypoint_set), PelvisCrop((self.input_width, self.input_height))
        centers, widths = pelvis_regions(joints)
        crops = crop.apply(image_bgr, centers, widths) if persons else np.zeros((1, *crop.size[::-1], 3), np.uint8)
        return {
            LIFT_CROPS.name: crops,
            KEYPOINTS_IMAGE.name: over_width(joints, (width, height)),
            KEYPOINTS_CROP.name: half_sizes(crop.from_picture(joints, centers, widths), crop.size),
        }


def pelvis_regions(joints: Floats) -> tuple[Floats, Floats]:
    """Return middles (N, 2) and widths (N,) of the lifter's crops in picture pixels, for joints (N, 17, 2)."""
    scale = pixels_per_metre(joints)
    centers = joints[:, ROOT] + scale[:, None] * np.array([0, _BELOW_PELVIS_M], np.float32)
    return centers, np.maximum(np.float32(_WIDTH_M) * scale, np.float32(_LEAST_WIDTH))


def over_width(points: Floats, picture_size: Size) -> Floats:
    """Return points (N, J, 2) in half widths of a picture of (w, h), from its middle."""
    width, height = picture_size
    return np.asarray((2 * points.astype(np.float64) - (width, height)) / width, np.float32)


def half_sizes(points: Floats, crop_size: Size) -> Floats:
    """Return points (N, J, 2) in crop pixels as the lifter takes them: 0 is -1, the width or height is 1."""
    return points / (np.float32(0.5) * np.array(crop_size, np.float32)) - np.float32(1)
