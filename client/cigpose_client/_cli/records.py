"""Results as JSON: one array, one line for each picture, or COCO's results format; written as they come."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cigpose_client._cli.files import PIPE, stdout, write_all
from cigpose_client._cli.resume import Earlier
from cigpose_client._cli.run import reason
from cigpose_client._poses import FloatArray, Poses
from cigpose_client.outputs import Part, is_special

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
    return {**key, "error": reason(error)}


class Records:
    """Writes one picture after the other, and keeps none in memory.

    Args:
        sink: where the records go.
        form: of the records.
        earlier: records of earlier runs; those of places that get no new one are kept, in order.

    Attributes:
        count: pictures so far.
        complete: whether everything is written.
    """

    def __init__(self, sink: "_Sink", form: Format, earlier: Earlier):
        self._sink = sink
        self._form = form
        self._earlier = earlier
        self._entries = 0
        self.count = 0
        self.complete = False

    def add(self, place: int, key: Mapping[str, Any], image_id: int | str, outcome: Poses | Exception) -> None:
        """Write what came of one picture; COCO's format has no place for failures, so there they are left out.

        Args:
            place: the picture's in the order of the sources; it grows from call to call.
            key: what tells the picture from others: `picture`, or `frame` and `time_s`.
            image_id: its id in COCO results.
            outcome: its people, or why there are none.

        Raises:
            OSError: it cannot be written; a file is as it was before.
        """
        self._keep(place)
        if self._form == "coco":
            self.write([] if isinstance(outcome, Exception) else outcome.to_coco(image_id))
        else:
            self.write([failure(key, outcome) if isinstance(outcome, Exception) else record(key, outcome)])
        self._earlier.drop(place)

    def write(self, entries: list[dict[str, Any]]) -> None:
        """Write the entries of one picture, all or none."""
        # json.dump would not use the fast encoder
        self._append([json.dumps(entry, separators=(",", ":")).encode() for entry in entries])

    def close(self) -> None:
        """Keep what is left of earlier runs, and end the array."""
        self._keep(None)
        self._sink.close()
        self.complete = True

    def _keep(self, before: int | None) -> None:
        for line in self._earlier.take(before):
            self._append([line])

    def _append(self, lines: list[bytes]) -> None:
        if self._form == "jsonl":
            data = b"".join(line + b"\n" for line in lines)
        else:
            data = b"".join((b",\n" if self._entries + index else b"\n") + line for index, line in enumerate(lines))
        self._sink.append(data)
        self._entries += len(lines)
        self.count += 1


@contextmanager
def open_records(path: str | None, form: Format, earlier: Earlier | None = None) -> Iterator[Records]:
    """Yield the writer to the file at `path`, or to stdout for None and `-`.

    However the block ends, the file holds whole records and the end of the array. Where there are none it vanishes, and
    the one at `path` stays as it was. Where there was no room for all of `earlier` it stays beside that, for --resume.
    """
    earlier = earlier or Earlier()
    if path is None or path == PIPE or is_special(path):
        with nullcontext(stdout()) if path in (None, PIPE) else open(path, "wb", buffering=0) as raw:
            with closing(Records(_Sink(raw, path or "stdout", form), form, earlier)) as records:
                yield records
        return
    part, kept = Part(path), None
    try:
        with open(part.path, "wb", buffering=0) as raw:
            with closing(Records(_Sink(raw, path, form, own=True), form, earlier)) as kept:
                yield kept
    finally:
        if kept is None or kept.count == 0:
            part.discard()
        elif kept.complete:
            part.place()
        else:
            part.leave()


class _Sink:
    """Takes the entries of one picture at a time, whole or not at all where that is possible: in files.

    A file of our `own` ends its array after every call. The next entries are written over that end, and where there is
    no room for them the end is put back, which needs none.
    """

    def __init__(self, raw: Any, name: str, form: Format, own: bool = False):
        self._raw = raw
        self._name = name
        self._own = own
        self._size = 0
        self._end = b"" if form == "jsonl" else b"\n]\n"
        self.append(b"" if form == "jsonl" else b"[")

    def append(self, data: bytes) -> None:
        """Write `data`."""
        start = self._seek()
        try:
            write_all(self._raw, data + self._end if self._own else data, self._name)
        except OSError:
            if start is not None:
                self._take_back(start)
            raise
        self._size += len(data)

    def close(self) -> None:
        """End the array."""
        if not self._own:
            write_all(self._raw, self._end, self._name)

    def _seek(self) -> int | None:
        """Go to where the next entries belong; stdout may be a file that others write to as well."""
        if self._own:
            return int(self._raw.seek(self._size))
        return int(self._raw.seek(0, os.SEEK_END)) if self._raw.seekable() else None

    def _take_back(self, start: int) -> None:
        with suppress(OSError):  # devices let nothing be taken back
            self._raw.seek(start)
            if self._own:
                write_all(self._raw, self._end, self._name)
            self._raw.truncate()


def _people(poses: Poses) -> list[dict[str, Any]]:
    points = np.concatenate(
        [_rounded(poses.keypoints, _PIXEL_DIGITS), _rounded(poses.keypoint_scores, _SCORE_DIGITS)[..., None]], axis=-1
    )
    columns = (_rounded(poses.bboxes, _PIXEL_DIGITS), _rounded(poses.bbox_scores, _SCORE_DIGITS), points)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [{"bbox": bbox, "bbox_score": score, "keypoints": keypoints} for bbox, score, keypoints in rows]


def _rounded(values: FloatArray, digits: int) -> npt.NDArray[np.float64]:
    return np.asarray(values.astype(np.float64).round(digits))  # in float64, so that JSON shows no more digits
