"""`--resume`: the records of earlier runs, taken over verbatim."""

import argparse
import json
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from cigpose_client._cli.files import PIPE, UsageError
from cigpose_client.outputs import is_special, leftovers

PlaceOf: TypeAlias = Callable[[Any, int], int | None]
"""(name, number of earlier records of that name) -> place in the order of the sources; None for an unknown name."""

_Line: TypeAlias = tuple[BinaryIO, int, int]
"""Position of a record: file, offset, length."""


class Earlier:
    """Records of earlier runs by their places in the order of the sources. The lines stay in their files.

    Attributes:
        answered: places whose record holds people, not an error.
    """

    def __init__(self) -> None:
        self.answered: set[int] = set()
        self._lines: dict[int, _Line] = {}

    def add(self, place: int, answered: bool, line: _Line) -> None:
        """Add a record, unless an answer for its place is known."""
        if place not in self.answered:
            self._lines[place] = line
            if answered:
                self.answered.add(place)

    def places(self) -> deque[int]:
        """Return the places that have a record, in order."""
        return deque(sorted(self._lines))

    def read(self, place: int) -> bytes:
        """Return the line of a place's record, without its end."""
        file, offset, length = self._lines[place]
        file.seek(offset)
        return file.read(length)


def add_resume(parser: argparse.ArgumentParser) -> None:
    """Add --resume."""
    text = "continue a run with the same --json FILE that ended early or was killed"
    parser.add_argument("--resume", action="store_true", help=text)


@contextmanager
def earlier_records(
    args: argparse.Namespace, field: str, place_of: PlaceOf, can_resume: bool = True
) -> Iterator[Earlier]:
    """Yield the records in the --json file and in what killed runs left beside it; without --resume, no records.

    Args:
        args: `resume`, `json` and `format` are read.
        field: name of the source in a record: `picture` or `frame`.
        place_of: see `PlaceOf`.
        can_resume: whether --resume fits the other options.

    Raises:
        UsageError: --resume does not fit the other options, or the file holds something else.
    """
    earlier = Earlier()
    left = leftovers([] if args.json in (None, PIPE) else [args.json])
    with ExitStack() as stack:
        if args.resume:
            _check(args)
            for path in [*([Path(args.json)] if Path(args.json).exists() else []), *left]:
                _load(stack.enter_context(open(path, "rb")), field, place_of, earlier)
        elif left and can_resume:
            print(f"A killed run left records for {args.json}; --resume would continue it.", file=sys.stderr)
        yield earlier


def remove_leftovers(paths: Iterable[str | None]) -> None:
    """Remove the temporary files of killed runs beside files that are complete now; None and `-` are ignored."""
    for path in leftovers(path for path in paths if path is not None and path != PIPE):
        path.unlink(missing_ok=True)


def _check(args: argparse.Namespace) -> None:
    if args.json in (None, PIPE) or is_special(args.json):
        raise UsageError("--resume continues a file; give --json FILE")
    if args.format == "coco":
        raise UsageError("--resume needs --format json or jsonl: COCO results do not say which pictures are done")


def _load(file: BinaryIO, field: str, place_of: PlaceOf, earlier: Earlier) -> None:
    """Add the records of a file."""
    count: Counter[Any] = Counter()
    for line, entry in _records(file, field):
        name = entry[field]
        place = place_of(name, count[name])
        count[name] += 1
        if place is not None:
            earlier.add(place, "error" not in entry, line)
        elif "error" not in entry:
            raise UsageError(
                f"{file.name} holds an answer for {name}, which is not an input of this run; "
                "choose another --json, or leave out --resume to replace it"
            )


def _records(file: BinaryIO, field: str) -> Iterator[tuple[_Line, dict[str, Any]]]:
    """Yield the records of a file, one from each line, without a last one that is cut."""
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
    excerpt = text[:40].decode(errors="replace")
    return UsageError(f"{file.name} was not written by this command with --format json or jsonl: found {excerpt!r}")
