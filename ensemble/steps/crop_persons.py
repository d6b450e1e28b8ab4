"""Picture and boxes -> one crop for each person."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ensemble.geometry import TopDownCrop
from ensemble.request_parameters import RequestParameters, parse_parameters
from ensemble.steps import Arrays, Request, Step, Weight
from ensemble.tensors import CENTERS, CROPS, IMAGE_BGR, PERSON_BOXES, SCALES, Tensor


@dataclass(frozen=True)
class CropPersons(Step):
    """Picture and boxes -> crops of one network's input size.

    Attributes:
        input_width: width of a crop.
        input_height: height of a crop.
        max_crops: the network's `max_batch_size`, and therefore most persons in one request.
        padding: see `TopDownCrop`.
        warp: likewise.
    """

    input_width: int
    input_height: int
    max_crops: int
    padding: float = TopDownCrop.padding
    warp: str = TopDownCrop.warp

    weight: ClassVar[Weight] = "pixels"
    counters: ClassVar[Mapping[str, str]] = {
        "cigpose_crops_total": "People cropped for a pose network.",
        "cigpose_dummy_crops_total": "Black crops sent through a pose network for pictures without people.",
    }
    refusals: ClassVar[tuple[str, ...]] = ("bboxes",)
    inputs = (IMAGE_BGR, PERSON_BOXES)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The crops, their centres and their scales."""
        return CROPS.sized(self.input_height, self.input_width, 3).many(), CENTERS, SCALES

    def run(self, request: Request) -> Arrays:
        """Cut the crops. Without persons, return one black crop: Triton rejects an empty batch."""
        bboxes = request.tensors["person_boxes"]
        options = parse_parameters(request.parameters, RequestParameters(max_persons=self.max_crops))
        check_crop_count(len(bboxes), options.max_persons, self.max_crops)
        crop = TopDownCrop((self.input_width, self.input_height), self.padding, self.warp)
        centers, scales = crop.regions(bboxes)
        crops = crop.apply(request.tensors["image_bgr"], centers, scales)
        if not len(crops):
            crops = np.zeros((1, *crops.shape[1:]), np.uint8)
        return {"crops": crops, "centers": centers, "scales": scales}

    def counts(self, inputs: Arrays, outputs: Arrays) -> Mapping[str, int]:
        """Count the persons, or the black crop."""
        persons = len(outputs["centers"])
        return {"cigpose_crops_total": persons, "cigpose_dummy_crops_total": 0 if persons else 1}


def check_crop_count(count: int, max_persons: int, limit: int) -> None:
    """Reject more crops than the network takes in one request.

    Args:
        count: number of boxes.
        max_persons: the request parameter.
        limit: the network's `max_batch_size`.

    Raises:
        ValueError: there are more; the message states the limit and how to stay below it.
    """
    if max_persons > limit:
        raise ValueError(
            f"request parameter max_persons is {max_persons}; this network's keypoints are for 1 to {limit} persons "
            "a request (without keypoints in the requested outputs there is no such limit)"
        )
    if count > limit:
        raise ValueError(f"bboxes: {count} are more than this network's limit of {limit} a request; send fewer at once")
