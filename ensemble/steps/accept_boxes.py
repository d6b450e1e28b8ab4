"""Caller-supplied boxes, in `select_persons`' output format."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ensemble.geometry import Floats
from ensemble.request_parameters import RequestParameters, parse_parameters
from ensemble.steps import Arrays, Request, Step
from ensemble.tensors import BBOX_SCORES, BBOXES, PERSON_BOXES, PERSONS_DETECTED


@dataclass(frozen=True)
class AcceptBoxes(Step):
    """Caller-supplied boxes, checked; every score is 1."""

    name: str = "accept_boxes"
    refusals: ClassVar[tuple[str, ...]] = ("bboxes", "parameters")
    inputs = (BBOXES,)
    outputs = (BBOX_SCORES, PERSONS_DETECTED, PERSON_BOXES)

    def run(self, request: Request) -> Arrays:
        """Return the boxes unchanged, each with a score of 1."""
        parse_parameters(request.parameters, RequestParameters())  # none is used here, but a misspelt one is an error
        bboxes = request.tensors["bboxes"]
        check_boxes(bboxes)
        return {
            "bbox_scores": np.ones(len(bboxes), np.float32),
            "persons_detected": np.array([len(bboxes)], np.int32),
            "person_boxes": bboxes,
        }


def check_boxes(bbox_xyxy: Floats) -> None:
    """Reject boxes from which no crop can be cut.

    Args:
        bbox_xyxy: (N, 4) float32, left, top, right, bottom in image pixels.

    Raises:
        ValueError: a box is not finite, or is empty in both directions, or ends before it begins.
    """
    if bbox_xyxy.ndim != 2 or bbox_xyxy.shape[1] != 4:
        raise ValueError(f"bboxes must have shape [N,4], got {list(bbox_xyxy.shape)}")
    with np.errstate(over="ignore", invalid="ignore"):  # an overflowing difference is not finite either
        widths, heights = (bbox_xyxy[:, 2:] - bbox_xyxy[:, :2]).T
    finite = np.isfinite(widths) & np.isfinite(heights)
    for index in np.flatnonzero(~finite):
        raise ValueError(f"bboxes[{index}] = {bbox_xyxy[index].tolist()} is not finite; send left, top, right, bottom")
    for index in np.flatnonzero((widths < 0) | (heights < 0) | ((widths == 0) & (heights == 0))):
        raise ValueError(
            f"bboxes[{index}] = {bbox_xyxy[index].tolist()} is empty; send left, top, right, bottom with right > left"
        )
