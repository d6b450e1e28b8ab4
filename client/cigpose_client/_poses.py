"""The server's answers as named arrays, and person by person."""

import dataclasses
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias, TypeVar, overload

import numpy as np
import numpy.typing as npt

from cigpose_client import _coco
from cigpose_client._extras import supervision
from cigpose_client._keypoints import KeypointSet, find_keypoint_set

FloatArray: TypeAlias = npt.NDArray[np.float32]
_SET_3D = "human36m"  # the contract's order of `keypoints_3d`
_PIXEL_DIGITS = 2
_SCORE_DIGITS = 4
_METRE_DIGITS = 4
_Answer = TypeVar("_Answer", bound="Detections")


@dataclass(frozen=True, eq=False)
class Detection:
    """One person of `Detections`.

    Attributes:
        bbox: (4,) left, top, right, bottom in pixels of the upright picture.
        bbox_score: the detector's score, 0 to 1; 1 for a given box.
    """

    bbox: FloatArray
    bbox_score: float


@dataclass(frozen=True, eq=False)
class Person(Detection):
    """One person of `Poses`. `person["nose"]` returns x, y and score of the keypoint of that name.

    Attributes:
        keypoints: (K, 2) x, y in pixels of the upright picture.
        keypoint_scores: (K,) heights of the network's peaks.
        keypoint_names: K names; empty when the keypoint set is unknown.
        keypoints_3d: (J, 3) metres from the root joint, camera axes; None without a lifter.
        track_id: id within the stream; None outside streams.
    """

    keypoints: FloatArray
    keypoint_scores: FloatArray
    keypoint_names: tuple[str, ...]
    keypoints_3d: FloatArray | None = None
    track_id: int | None = None

    def __getitem__(self, name: str) -> tuple[float, float, float]:
        if name not in self.keypoint_names:
            raise KeyError(f"no keypoint {name!r}; known: {', '.join(self.keypoint_names)}")
        row = self.keypoint_names.index(name)
        x, y = self.keypoints[row].tolist()
        return x, y, float(self.keypoint_scores[row])


@dataclass(frozen=True, eq=False)
class Detections:
    """The people of one picture, without keypoints. All arrays are float32; pixels are those of the upright picture.

    A sequence as well: `detections[0]` is a `Detection`, and a slice has the same type as the whole.

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

    @overload
    def __getitem__(self, index: SupportsIndex) -> Detection: ...
    @overload
    def __getitem__(self: _Answer, index: slice) -> _Answer: ...
    def __getitem__(self, index: SupportsIndex | slice) -> "Detection | Detections":
        if isinstance(index, slice):
            return self.take(range(*index.indices(len(self))))
        row = operator.index(index)
        if not -len(self) <= row < len(self):
            raise IndexError(f"there is no person {row}: {len(self)} were found")
        return self._person(row)

    def __iter__(self) -> Iterator[Detection]:
        return map(self._person, range(len(self)))

    def _person(self, row: int) -> Detection:
        return Detection(self.bboxes[row], float(self.bbox_scores[row]))

    def select(self: _Answer, score: float) -> _Answer:
        """Return the people whose bbox score is at least `score`."""
        return self.take(np.flatnonzero(self.bbox_scores >= score))

    def take(self: _Answer, people: Sequence[int] | npt.NDArray[np.intp]) -> _Answer:
        """Return the people at the rows `people`, in that order."""
        rows = np.asarray(people, np.intp)
        arrays: dict[str, Any] = {
            name: value[rows] for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return dataclasses.replace(self, **arrays)


@dataclass(frozen=True, eq=False)
class Poses(Detections):
    """The people of one picture with their keypoints; a sequence of `Person`.

    Attributes:
        keypoints: (N, K, 2) x, y in pixels of the upright picture.
        keypoint_scores: (N, K) heights of the network's peaks: about 0 to 1, not probabilities, may be negative.
        set_name: name of the keypoint set, as the server states it; empty when it states none.
        kind: `top_down`, `bottom_up` or `lifted`, likewise.
        keypoints_3d: (N, J, 3) x to the right, y down, z away from the camera, in metres from the person's root joint;
            None when the model is no lifter.
        track_ids: (N,) int64, ids that a stream gives to people; None outside streams.
    """

    keypoints: FloatArray
    keypoint_scores: FloatArray
    set_name: str = ""
    kind: str = ""
    keypoints_3d: FloatArray | None = None
    track_ids: npt.NDArray[np.int64] | None = None

    if TYPE_CHECKING:  # the inherited methods, with `Person` as the type of an element

        @overload
        def __getitem__(self, index: SupportsIndex) -> Person: ...
        @overload
        def __getitem__(self: _Answer, index: slice) -> _Answer: ...
        def __getitem__(self, index: SupportsIndex | slice) -> Any: ...
        def __iter__(self) -> Iterator[Person]: ...

    def _person(self, row: int) -> Person:
        score, names = float(self.bbox_scores[row]), self.keypoint_names
        lifted = None if self.keypoints_3d is None else self.keypoints_3d[row]
        track = None if self.track_ids is None else int(self.track_ids[row])
        return Person(self.bboxes[row], score, self.keypoints[row], self.keypoint_scores[row], names, lifted, track)

    @property
    def keypoint_set(self) -> KeypointSet | None:
        """The keypoint set called `set_name`, or without a name the set with K keypoints; None when it is unknown."""
        return find_keypoint_set(self.keypoints.shape[1], self.set_name)

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """K names; empty when the keypoint set is unknown."""
        return self.keypoint_set.names if self.keypoint_set else ()

    @property
    def keypoint_set_3d(self) -> KeypointSet | None:
        """The keypoint set of `keypoints_3d`; None without them."""
        return None if self.keypoints_3d is None else find_keypoint_set(self.keypoints_3d.shape[1], _SET_3D)

    @property
    def bottom_up(self) -> bool:
        """Whether a bottom-up network found the people: keypoint scores are low, and box scores are their means."""
        return self.kind == "bottom_up"

    @property
    def instance_scores(self) -> FloatArray:
        """(N,) score by which COCO evaluation ranks people: box score times the mean keypoint score above 0.2.

        Of a bottom-up network it is the box score.
        """
        return self.bbox_scores if self.bottom_up else _coco.instance_scores(self.bbox_scores, self.keypoint_scores)

    def to_coco(self, image_id: int | str, *, bbox: bool = True) -> list[dict[str, Any]]:
        """Return one entry of the COCO (for 133 keypoints COCO-WholeBody) results format for each person.

        The format has no place for `keypoints_3d`, which are left out. From a stream, entries have a `track_id`.

        Args:
            image_id: the picture's id in the annotation file.
            bbox: whether entries hold the person's box as left, top, width, height. pycocotools then takes the size of
                a person, for AP (M) and AP (L), from the box; otherwise from the keypoints.
        """
        boxes = self.bboxes if bbox else [None] * len(self)
        people = zip(self.keypoints, self.keypoint_scores, self.instance_scores, boxes, strict=True)
        entries = [_coco.result(image_id, self.keypoint_set, *person) for person in people]
        if self.track_ids is None:
            return entries
        return [{**entry, "track_id": int(each)} for entry, each in zip(entries, self.track_ids, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Return what the command writes as JSON for one picture, except for the picture's name.

        Pixels are rounded to 0.01, scores to 0.0001, metres to 0.0001.

        Returns:
            `keypoint_set`, `persons_detected`, and `people`: for each `bbox` [left, top, right, bottom], `bbox_score`
            and `keypoints`, K times [x, y, score]. With a lifter also `keypoint_set_3d`, and for each person
            `keypoints_3d`, J times [x, y, z]. From a stream, each person's `track_id`.
        """
        points = np.dstack([_rounded(self.keypoints, _PIXEL_DIGITS), _rounded(self.keypoint_scores, _SCORE_DIGITS)])
        sets = {"keypoint_set": self.keypoint_set.name if self.keypoint_set else None}
        columns: dict[str, npt.NDArray[Any]] = {"bbox": _rounded(self.bboxes, _PIXEL_DIGITS)}
        columns |= {"bbox_score": _rounded(self.bbox_scores, _SCORE_DIGITS), "keypoints": points}
        if self.keypoints_3d is not None:
            sets["keypoint_set_3d"] = self.keypoint_set_3d.name if self.keypoint_set_3d else None
            columns["keypoints_3d"] = _rounded(self.keypoints_3d, _METRE_DIGITS)
        if self.track_ids is not None:
            columns["track_id"] = self.track_ids
        people = zip(*(column.tolist() for column in columns.values()), strict=True)
        return {
            **sets,
            "persons_detected": self.persons_detected,
            "people": [dict(zip(columns, person, strict=True)) for person in people],
        }

    def to_supervision(self) -> Any:
        """Return `supervision.KeyPoints` (0.29 or newer) with the same people, class 0, without `keypoints_3d`.

        supervision knows the skeleton of 17 keypoints only; `EdgeAnnotator(edges=poses.supervision_edges)` draws any.

        Raises:
            ModuleNotFoundError: the library `supervision` is not installed.
        """
        return supervision().KeyPoints(
            xy=self.keypoints,
            class_id=np.zeros(len(self), int),
            keypoint_confidence=self.keypoint_scores,
            detection_confidence=self.bbox_scores,
        )

    @property
    def supervision_edges(self) -> list[tuple[int, int]]:
        """The skeleton for supervision's `EdgeAnnotator`, with rows counted from 1. Empty for an unknown set."""
        return [(a + 1, b + 1) for a, b in self.keypoint_set.edges] if self.keypoint_set else []


def _rounded(values: FloatArray, digits: int) -> npt.NDArray[np.float64]:
    return np.asarray(values.astype(np.float64).round(digits))  # in float64, so that JSON shows no more digits
