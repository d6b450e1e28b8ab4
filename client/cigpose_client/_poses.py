"""What the server answers, as arrays with names."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from cigpose_client import _coco
from cigpose_client._extras import supervision
from cigpose_client._keypoints import KeypointSet, find_keypoint_set

FloatArray: TypeAlias = npt.NDArray[np.float32]
_Answer = TypeVar("_Answer", bound="Detections")


@dataclass(frozen=True, eq=False)
class Detections:
    """The people of one picture, without keypoints. All arrays are float32; pixels are those of the upright picture.

    Attributes:
        bboxes: (N, 4) left, top, right, bottom in pixels; best score first, or in the order of the given boxes.
        bbox_scores: (N,) detector scores, 0 to 1; 1 for given boxes.
        persons_detected: people found before `max_persons` cut the list.
    """

    bboxes: FloatArray
    bbox_scores: FloatArray
    persons_detected: int

    def __len__(self) -> int:
        """Return N, the number of people."""
        return len(self.bboxes)

    def select(self: _Answer, score: float) -> _Answer:
        """Return only the people whose bbox score is at least `score`."""
        return self.take(np.flatnonzero(self.bbox_scores >= score))

    def take(self: _Answer, people: Sequence[int] | npt.NDArray[np.intp]) -> _Answer:
        """Return only `people`, by their indices, in that order."""
        rows = np.asarray(people, np.intp)
        arrays: dict[str, Any] = {
            name: value[rows] for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return dataclasses.replace(self, **arrays)


@dataclass(frozen=True, eq=False)
class Poses(Detections):
    """The people of one picture with their keypoints.

    Attributes:
        keypoints: (N, K, 2) x, y in pixels of the upright picture.
        keypoint_scores: (N, K) SimCC peak heights: about 0 to 1, not probabilities, may be negative.
    """

    keypoints: FloatArray
    keypoint_scores: FloatArray

    @property
    def keypoint_set(self) -> KeypointSet | None:
        """The keypoint convention, known by the number of points; None when no known set has that many."""
        return find_keypoint_set(self.keypoints.shape[1])

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """K names; empty when the keypoint set is unknown."""
        return self.keypoint_set.names if self.keypoint_set else ()

    @property
    def instance_scores(self) -> FloatArray:
        """(N,) score by which COCO evaluation ranks people: box score times the mean of the clear keypoint scores."""
        return _coco.instance_scores(self.bbox_scores, self.keypoint_scores)

    def to_coco(self, image_id: int | str) -> list[dict[str, Any]]:
        """Return one entry of the COCO (for 133 points COCO-WholeBody) results format for each person.

        Args:
            image_id: the picture's id in the annotation file.
        """
        people = zip(self.keypoints, self.keypoint_scores, self.instance_scores, strict=True)
        return [_coco.result(image_id, *person) for person in people]

    def to_supervision(self) -> Any:
        """Return `supervision.KeyPoints` (0.29 or newer) with the same people, class 0.

        Raises:
            ModuleNotFoundError: the library `supervision` is not installed.
        """
        return supervision().KeyPoints(
            xy=self.keypoints,
            class_id=np.zeros(len(self), int),
            keypoint_confidence=self.keypoint_scores,
            detection_confidence=self.bbox_scores,
        )
