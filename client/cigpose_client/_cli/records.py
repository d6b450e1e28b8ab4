"""Results as JSON: one array, one line for each picture, or COCO's results format; written as they come."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TextIO, TypeAlias

import numpy as np
import numpy.typing as npt

from cigpose_client._poses import FloatArray, Poses

Format: TypeAlias = Literal["json", "jsonl", "coco"]
FORMATS: tuple[Format, ...] = ("json", "jsonl", "coco")

_PIXEL_DIGITS = 2
_SCORE_DIGITS = 4


def record(key: Mapping[str, Any], poses: Poses) -> dict[str, Any]:
    """Return one picture's people. Pixels are rounded to 0.01, scores to 0.0001.

    Args:
        key: what tells the picture from others: `picture`, or `frame` and `time_s`.
        poses: its people.

    Returns:
        the key, `keypoint_set`, `persons_detected`, and `people`: for each `bbox` [left, top, right, bottom],
        `bbox_score` and `keypoints`, K times [x, y, score].
    """
    return {
        **key,
        "keypoint_set": poses.keypoint_set.name if poses.keypoint_set else None,
        "persons_detected": poses.persons_detected,
        "people": _people(poses),
    }


def failure(key: Mapping[str, Any], error: Exception) -> dict[str, Any]:
    """Return the record of a picture that has no answer."""
    return {**key, "error": str(error)}


class Records:
    """Writes one picture after the other, so that a long run can be followed and holds no memory."""

    def __init__(self, stream: TextIO, form: Format):
        self._stream = stream
        self._form = form
        self._count = 0

    def begin(self) -> None:
        """Open the array, where there is one."""
        if self._form != "jsonl":
            self._stream.write("[")

    def end(self) -> None:
        """Close the array, where there is one."""
        if self._form != "jsonl":
            self._stream.write("\n]\n" if self._count else "]\n")

    def add(self, key: Mapping[str, Any], image_id: int | str, outcome: Poses | Exception) -> None:
        """Write what came of one picture; COCO's format has no place for failures, so there they are left out."""
        if self._form == "coco":
            people = [] if isinstance(outcome, Exception) else outcome.to_coco(image_id)
            for person in people:
                self._write(person)
        else:
            self._write(failure(key, outcome) if isinstance(outcome, Exception) else record(key, outcome))
        self._stream.flush()

    def _write(self, entry: dict[str, Any]) -> None:
        if self._form != "jsonl":
            self._stream.write(",\n" if self._count else "\n")
        self._stream.write(json.dumps(entry, separators=(",", ":")))  # json.dump would not use the fast encoder
        if self._form == "jsonl":
            self._stream.write("\n")
        self._count += 1


@contextmanager
def open_records(path: str | None, form: Format) -> Iterator[Records]:
    """Yield the writer to the file at `path`, or to stdout for None and `-`; the array is closed whatever happens."""
    if path in (None, "-"):
        with _array(Records(sys.stdout, form)) as records:
            yield records
        return
    with open(path, "w", encoding="utf-8") as stream, _array(Records(stream, form)) as records:
        yield records


@contextmanager
def _array(records: Records) -> Iterator[Records]:
    records.begin()
    try:
        yield records
    finally:
        records.end()


def _people(poses: Poses) -> list[dict[str, Any]]:
    points = np.concatenate(
        [_rounded(poses.keypoints, _PIXEL_DIGITS), _rounded(poses.keypoint_scores, _SCORE_DIGITS)[..., None]], axis=-1
    )
    columns = (_rounded(poses.bboxes, _PIXEL_DIGITS), _rounded(poses.bbox_scores, _SCORE_DIGITS), points)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [{"bbox": bbox, "bbox_score": score, "keypoints": keypoints} for bbox, score, keypoints in rows]


def _rounded(values: FloatArray, digits: int) -> npt.NDArray[np.float64]:
    return np.asarray(values.astype(np.float64).round(digits))  # in float64, so that JSON shows no more digits
