"""Detector output -> the persons of one picture, best score first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ensemble.geometry import Floats, Letterbox
from ensemble.request_parameters import RequestParameters, parse_parameters
from ensemble.steps import Arrays, Request, Step
from ensemble.tensors import BBOX_SCORES, BBOXES, BOXES, IMAGE_SIZE, PERSON_BOXES, PERSONS_DETECTED, SCORES


@dataclass(frozen=True)
class SelectPersons(Step):
    """Candidate boxes -> the persons, in picture pixels.

    Attributes:
        input_width: width of the letterboxed picture.
        input_height: height of the letterboxed picture.
        bbox_threshold: default of the request parameter.
        nms_threshold: default of the request parameter.
        max_persons: default of the request parameter.
    """

    input_width: int
    input_height: int
    bbox_threshold: float = RequestParameters.bbox_threshold
    nms_threshold: float = RequestParameters.nms_threshold
    max_persons: int = RequestParameters.max_persons

    counters: ClassVar[Mapping[str, str]] = {
        "cigpose_persons_detected_total": "People detected, before max_persons cut the list."
    }
    refusals: ClassVar[tuple[str, ...]] = ("parameters",)
    inputs = (BOXES, SCORES, IMAGE_SIZE)
    outputs = (BBOXES, BBOX_SCORES, PERSONS_DETECTED, PERSON_BOXES)

    def run(self, request: Request) -> Arrays:
        """Select the persons by the thresholds of the request, and map their boxes to picture pixels."""
        defaults = RequestParameters(self.bbox_threshold, self.nms_threshold, self.max_persons)
        options = parse_parameters(request.parameters, defaults)
        width, height = request.tensors["image_size"]
        letterbox = Letterbox((self.input_width, self.input_height))
        persons = select_persons(request.tensors["boxes"], request.tensors["scores"], options)
        bboxes = letterbox.to_picture(persons.bboxes, (int(width), int(height)))
        return {
            "bboxes": bboxes,
            "bbox_scores": persons.scores,
            "persons_detected": np.array([persons.detected], np.int32),
            "person_boxes": bboxes,
        }

    def counts(self, inputs: Arrays, outputs: Arrays) -> Mapping[str, int]:
        """Count the persons."""
        return {"cigpose_persons_detected_total": int(outputs["persons_detected"][0])}


@dataclass(frozen=True)
class Persons:
    """The persons of one picture.

    Attributes:
        bboxes: (N, 4) float32, left, top, right, bottom in letterbox pixels, best score first.
        scores: (N,) float32.
        detected: number of persons before `max_persons` cut the list.
    """

    bboxes: Floats
    scores: Floats
    detected: int


def select_persons(boxes: Floats, scores: Floats, options: RequestParameters) -> Persons:
    """Keep confident boxes, one for each person.

    Args:
        boxes: (A, 4) float32 candidates, left, top, right, bottom in letterbox pixels.
        scores: (A,) float32.
        options: candidates below `bbox_threshold` are dropped; a box that overlaps a better one by more than
            `nms_threshold` (IoU) is dropped; at most `max_persons` are kept.
    """
    confident = np.flatnonzero(scores >= np.float32(options.bbox_threshold))
    order = confident[np.argsort(-scores[confident], kind="stable")]  # stable: equal scores keep their order
    kept = order[non_maximum_suppression(boxes[order], options.nms_threshold)]
    best = kept[: options.max_persons]
    return Persons(boxes[best], scores[best], len(kept))


def non_maximum_suppression(bbox_xyxy: Floats, iou_threshold: float) -> NDArray[np.intp]:
    """Return the indices of the boxes that no earlier kept box overlaps by more than `iou_threshold`.

    Args:
        bbox_xyxy: (M, 4) float32, best first.
        iou_threshold: intersection over union, 0 to 1.
    """
    left, top, right, bottom = bbox_xyxy.T
    areas = (right - left) * (bottom - top)
    kept, rest = [], np.arange(len(bbox_xyxy))
    while rest.size:
        best, rest = rest[0], rest[1:]
        kept.append(best)
        widths = np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest])
        heights = np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest])
        intersection = np.maximum(widths, 0) * np.maximum(heights, 0)
        rest = rest[intersection <= iou_threshold * (areas[best] + areas[rest] - intersection)]
    return np.array(kept, np.intp)
