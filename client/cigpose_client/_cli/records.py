"""Results as JSON: one array, one line for each picture, or COCO's results format; each is written on arrival."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from typing import Any

from cigpose_client._cli.arguments import Format
from cigpose_client._cli.files import PIPE, stdout, write_all
from cigpose_client._cli.resume import Earlier
from cigpose_client._cli.run import reason
from cigpose_client._poses import Poses
from cigpose_client.outputs import Part, is_special


class Records:
    """Writes the records of one picture after another, and keeps none in memory.

    Args:
        sink: destination of the records.
        form: format of the records.
        earlier: records of earlier runs; they are kept, in order, for places without a new record.

    Attributes:
        count: number of pictures so far.
        complete: whether everything is written.
    """

    def __init__(self, sink: "_Sink", form: Format, earlier: Earlier):
        self._sink = sink
        self._form = form
        self._earlier = earlier
        self._pending = earlier.places()  # whose earlier record is not yet written
        self._entries = 0
        self.count = 0
        self.complete = False

    def add(self, place: int, key: Mapping[str, Any], image_id: int | str, outcome: Poses | Exception) -> None:
        """Write the outcome of one picture. COCO's format cannot express a failure and omits it.

        Args:
            place: position in the order of the sources; it grows from call to call.
            key: identifies the picture: `picture`, or `frame` and `time_s`.
            image_id: id in COCO results.
            outcome: its people, or the error.

        Raises:
            OSError: the record cannot be written; a file is unchanged.
        """
        self._keep(place)
        if self._form != "coco":
            self.write([_record(key, outcome)])
        else:
            self.write([] if isinstance(outcome, Exception) else outcome.to_coco(image_id))
        if self._pending and self._pending[0] == place:  # replaced by the new record
            self._pending.popleft()

    def write(self, entries: list[dict[str, Any]]) -> None:
        """Write all entries of one picture, or none of them."""
        # json.dump would not use the fast encoder
        self._append([json.dumps(entry, separators=(",", ":")).encode() for entry in entries])

    def close(self) -> None:
        """Write the remaining records of earlier runs, and end the array."""
        self._keep(math.inf)
        self._sink.close()
        self.complete = True

    def _keep(self, before: float) -> None:
        """Write the earlier records of the places below `before`."""
        while self._pending and self._pending[0] < before:
            self._append([self._earlier.read(self._pending[0])])
            self._pending.popleft()

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

    However the block ends, the file holds whole records and the end of the array. Without any record, the file is
    removed and an old one at `path` is unchanged. If the disk has no room for all of `earlier`, the new file stays
    beside the old one, for --resume.
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
    """Accepts the entries of one picture at a time; files receive all of them or none.

    A file that this process `own`s ends its array after every call. The next entries overwrite that end. If they do not
    fit on the disk, the end is restored, which needs no new room.
    """

    def __init__(self, raw: Any, name: str, form: Format, own: bool = False):
        self._raw = raw
        self._name = name
        self._own = own
        self._size = 0
        self._end = b"" if form == "jsonl" else b"\n]\n"
        self.append(b"" if form == "jsonl" else b"[")

    def append(self, data: bytes) -> None:
        """Write `data` and, in an own file, the end of the array."""
        start = self._seek()
        try:
            write_all(self._raw, data + self._end if self._own else data, self._name)
        except OSError:
            if start is not None:
                self._restore(start)
            raise
        self._size += len(data)

    def close(self) -> None:
        """End the array."""
        if not self._own:
            write_all(self._raw, self._end, self._name)

    def _seek(self) -> int | None:
        """Go to the position of the next entries; other processes may write to a file behind stdout, too."""
        if self._own:
            return int(self._raw.seek(self._size))
        return int(self._raw.seek(0, os.SEEK_END)) if self._raw.seekable() else None

    def _restore(self, start: int) -> None:
        with suppress(OSError):  # devices cannot be truncated
            self._raw.seek(start)
            if self._own:
                write_all(self._raw, self._end, self._name)
            self._raw.truncate()


def _record(key: Mapping[str, Any], outcome: Poses | Exception) -> dict[str, Any]:
    """Return the record of one picture: its key, and `Poses.to_dict`, or `error` after a failure."""
    return {**key, "error": reason(outcome)} if isinstance(outcome, Exception) else {**key, **outcome.to_dict()}
