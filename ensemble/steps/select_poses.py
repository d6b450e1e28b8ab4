"""Candidates of a bottom-up network -> the people of one picture, best score first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ensemble.geometry import Floats, PaddedFit
from ensemble.request_parameters import ParameterRefused, RequestParameters, parse_parameters
from ensemble.steps import Arrays, Request, Step
from ensemble.steps.select_persons import SelectPersons
from ensemble.tensors import (
    BBOX_SCORES,
    BBOXES,
    CANDIDATE_KEYPOINT_SCORES,
    CANDIDATE_KEYPOINTS,
    CANDIDATE_SCORES,
    CENTER_SCORES,
    IMAGE_SIZE,
    KEYPOINT_SCORES,
    KEYPOINTS,
    PERSONS_DETECTED,
)

MOST_POSES = 30  # people in an answer, as in the official code
_CONFIDENT = 0.01  # height of a centre below which there is nobody
_CLOSE = 0.05  # distance of two people's keypoints, in roots of the first one's area, below which they are the same


@dataclass(frozen=True)
class SelectPoses(Step):
    """Candidates -> the people, in picture pixels.

    Attributes:
        short_side: see `PaddedFit`.
        bbox_threshold: default of the request parameter, which is compared with person scores.
        most_poses: most people in an answer, whatever `max_persons` says.
    """

    short_side: int
    bbox_threshold: float = 0.0
    most_poses: int = MOST_POSES

    counters: ClassVar[Mapping[str, str]] = SelectPersons.counters
    refusals: ClassVar[tuple[str, ...]] = ("parameters",)
    inputs = (CANDIDATE_KEYPOINTS, CANDIDATE_KEYPOINT_SCORES, CANDIDATE_SCORES, CENTER_SCORES, IMAGE_SIZE)
    outputs = (BBOXES, BBOX_SCORES, KEYPOINTS, KEYPOINT_SCORES, PERSONS_DETECTED)

    def run(self, request: Request) -> Arrays:
        """Map the candidates to picture pixels, and keep one for each person."""
        options = self._options(request)
        keypoints, keypoint_scores, scores, centers, size = (request.tensors[tensor.name] for tensor in self.inputs)
        points = PaddedFit(self.short_side).to_picture(keypoints, (int(size[0]), int(size[1])))
        found = np.flatnonzero((centers >= _CONFIDENT) & (scores > 0))
        found = found[distinct_poses(points[found], scores[found])]
        found = found[scores[found] >= np.float32(options.bbox_threshold)]
        order = found[np.argsort(-scores[found], kind="stable")]
        best = order[: min(options.max_persons, self.most_poses)]
        return {
            "bboxes": np.concatenate([points[best].min(axis=1), points[best].max(axis=1)], axis=1),
            "bbox_scores": scores[best],
            "keypoints": points[best],
            "keypoint_scores": keypoint_scores[best],
            "persons_detected": np.array([len(found)], np.int32),
        }

    def counts(self, inputs: Arrays, outputs: Arrays) -> Mapping[str, int]:
        """Count the people."""
        return {"cigpose_persons_detected_total": int(outputs["persons_detected"][0])}

    def _options(self, request: Request) -> RequestParameters:
        refused = request.parameters.get("nms_threshold")
        if refused is not None:
            raise ParameterRefused(
                f"request parameter nms_threshold is {refused!r}; it does not apply to this network, which compares "
                "poses instead of boxes: leave it out"
            )
        return parse_parameters(request.parameters, RequestParameters(bbox_threshold=self.bbox_threshold))


def distinct_poses(keypoints: Floats, scores: Floats) -> NDArray[np.intp]:
    """Return one index for each person, where several candidates may be the same one.

    Two candidates are the same when more than half of their keypoints lie close together. Of those that are the same as
    a candidate, the one with the best score stays. A candidate of no extent is dropped.

    Args:
        keypoints: (C, K, 2) float32 picture pixels, in order of falling centre score.
        scores: (C,) float32 person scores.

    Source: the official test of LOGO-CAP, as DEKR has it, in picture pixels.
    """
    points = keypoints.astype(np.float64)
    extents = points.max(axis=1) - points.min(axis=1) if len(points) else np.zeros((0, 2))
    limits = _CLOSE * np.linalg.norm(extents, axis=1)
    distances = np.linalg.norm(points[:, None] - points, axis=3)
    same = (distances < limits[:, None, None]).sum(axis=2) > points.shape[1] // 2
    used = np.zeros(len(points), bool)
    kept = []
    for candidate in range(len(points)):
        group = np.flatnonzero(same[candidate])
        if used[candidate] or not group.size:
            continue
        best = group[scores[group].argmax()]
        if not used[best]:
            kept.append(best)
            used[group] = True
    return np.array(kept, np.intp)
