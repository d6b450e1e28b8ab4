"""`--resume`: what earlier runs wrote, taken over verbatim."""

import argparse
import json
import math
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from cigpose_client._cli.files import PIPE, UsageError
from cigpose_client.outputs import is_special, leftovers

PlaceOf: TypeAlias = Callable[[Any, int], int | None]
"""(name, how often it was met before) -> its place in the order of the sources; None for the name of another source."""

_Line: TypeAlias = tuple[BinaryIO, int, int]
"""Where a record stands: file, offset, length."""


class Earlier:
    """Records of earlier runs by their places in the order of the sources. The lines stay in their files.

    Attributes:
        answered: places whose record holds people, not an error.
    """

    def __init__(self) -> None:
        self.answered: set[int] = set()
        self._lines: dict[int, _Line] = {}
        self._places: deque[int] | None = None

    def add(self, place: int, answered: bool, line: _Line) -> None:
        """Take a record, unless there is an answer for its place already."""
        if place not in self.answered:
            self._lines[place] = line
            if answered:
                self.answered.add(place)

    def take(self, before: int | None) -> Iterator[bytes]:
        """Yield the lines of places below `before`, or of all for None; one is gone when the next is asked for."""
        if self._places is None:
            self._places = deque(sorted(self._lines))
        while self._places and self._places[0] < (math.inf if before is None else before):
            file, offset, length = self._lines[self._places[0]]
            file.seek(offset)
            yield file.read(length)
            self._places.popleft()

    def drop(self, place: int) -> None:
        """Forget the record of a place that has a new one; those of lower places were taken before."""
        if self._places and self._places[0] == place:
            self._places.popleft()


def add_resume(parser: argparse.ArgumentParser) -> None:
    """Add --resume."""
    parser.add_argument(
        "--resume", action="store_true", help="go on where a run with the same --json FILE ended, or was killed"
    )


@contextmanager
def earlier_records(args: argparse.Namespace, field: str, place_of: PlaceOf) -> Iterator[Earlier]:
    """Yield the records of the --json file, and of runs that were killed while they wrote it; none without --resume.

    Args:
        args: `resume`, `json` and `format` are read.
        field: names the source in a record: `picture` or `frame`.
        place_of: see `PlaceOf`.

    Raises:
        UsageError: --resume is impossible with the other options, or the file holds something else.
    """
    earlier = Earlier()
    if args.resume:
        _check(args)
    left = leftovers([] if args.json in (None, PIPE) else [args.json])
    if left and not args.resume:
        print(f"A killed run left records for {args.json}; --resume would go on from them.", file=sys.stderr)
    with ExitStack() as stack:
        if args.resume:
            for path in [*([Path(args.json)] if Path(args.json).exists() else []), *left]:
                _load(stack.enter_context(open(path, "rb")), field, place_of, earlier)
        yield earlier


def remove_leftovers(paths: Iterable[str | None]) -> None:
    """Remove what killed runs left beside files that are complete now; None and `-` are no files."""
    for path in leftovers(path for path in paths if path is not None and path != PIPE):
        path.unlink(missing_ok=True)


def _check(args: argparse.Namespace) -> None:
    if args.json in (None, PIPE) or is_special(args.json):
        raise UsageError("--resume goes on with a file; give --json FILE")
    if args.format == "coco":
        raise UsageError("--resume needs --format json or jsonl: COCO results do not say which pictures are done")


def _load(file: BinaryIO, field: str, place_of: PlaceOf, earlier: Earlier) -> None:
    """Add the records of a file."""
    seen: Counter[Any] = Counter()
    for line, entry in _records(file, field):
        name = entry[field]
        place = place_of(name, seen[name])
        seen[name] += 1
        if place is not None:
            earlier.add(place, "error" not in entry, line)
        elif "error" not in entry:
            raise UsageError(
                f"{file.name} holds an answer for {name}, which is not asked for now; "
                "choose another --json, or leave out --resume to replace it"
            )


def _records(file: BinaryIO, field: str) -> Iterator[tuple[_Line, dict[str, Any]]]:
    """Yield the records of a file, one from each line, without a last one that was cut."""
    end = 0
    cut: bytes | None = None
    for line in file:
        start, end = end, end + len(line)
        text = line.rstrip(b"\r\n").rstrip(b",")
        if text in (b"", b"[", b"]"):
            continue
        if cut is not None:
            raise _no_record(file, cut)
        try:
            entry = json.loads(text)
        except ValueError:
            cut = text
            continue
        if not isinstance(entry, dict) or not isinstance(entry.get(field), str | int):
            raise _no_record(file, text)
        yield (file, start, len(text)), entry
    begin = f'{{"{field}":'.encode()
    if cut is not None and not cut.startswith(begin[: len(cut)]):
        raise _no_record(file, cut)


def _no_record(file: BinaryIO, text: bytes) -> UsageError:
    found = text[:40].decode(errors="replace")
    return UsageError(f"{file.name} was not written by this command with --format json or jsonl: found {found!r}")
