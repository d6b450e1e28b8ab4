"""Input pictures (files, web addresses, stdin) and the files of their drawings."""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cigpose_client._cli import web
from cigpose_client._draw import Pixels
from cigpose_client._extras import opencv
from cigpose_client.outputs import check_apart, check_outputs, is_special, write_file

PIPE = "-"
_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}


class UsageError(ValueError):
    """The arguments do not fit together, or ask for something impossible."""


@dataclass(frozen=True)
class Source:
    """One input picture.

    Attributes:
        place: position in the order of the pictures, from 0.
        name: name in the results.
        path: file or web address; `-` for stdin.
        target: file of the drawing, `-` for stdout; None when nothing is drawn.
        plot: the same for the drawing in 3-D.
        content: the encoded picture, if it has been read.
    """

    place: int
    name: str
    path: str
    target: str | None = None
    plot: str | None = None
    content: bytes | None = None

    @property
    def image_id(self) -> int | str:
        """The id in COCO results: the number in the file name, as in COCO's own files, else the stem of the name."""
        stem = Path(_file_name(self.name)).stem
        return int(stem) if stem.isdecimal() else stem

    @property
    def keys(self) -> tuple[int | str, ...]:
        """Names under which a file of boxes may list the picture."""
        return (self.name, _file_name(self.name), self.image_id)

    @property
    def is_drawn(self) -> bool:
        """Whether the requested drawings exist."""
        return all(Path(path).is_file() for path in (self.target, self.plot) if path is not None)

    def read(self, timeout_s: float) -> bytes:
        """Return the encoded picture; `timeout_s` limits a download, in seconds."""
        if self.content is not None:
            return self.content
        return web.fetch(self.path, timeout_s) if web.is_address(self.path) else Path(self.path).read_bytes()


def listed(pictures: list[str], output: str | None, plot: str | None = None) -> list[Source]:
    """Return the pictures of the command line.

    Args:
        pictures: files, web addresses, or `-`.
        output: file or folder of the drawings, `-` for stdout; None for no drawings.
        plot: the same for the drawings in 3-D.

    Raises:
        UsageError: `output` or `plot` cannot hold the drawings.
    """
    return _sources(pictures, pictures, *(_targets(pictures, path) for path in (output, plot)))


def _targets(pictures: list[str], output: str | None) -> list[str | None]:
    if output == PIPE and len(pictures) > 1:
        raise UsageError("only one drawn picture can go to stdout; give a folder with --output")
    if output is None or output == PIPE or (len(pictures) == 1 and not _is_folder(output)):
        return [output] * len(pictures)
    if not Path(output).is_dir() and (Path(output).exists() or Path(output).suffix.lower() in _SUFFIXES):
        raise UsageError(f"{len(pictures)} pictures cannot be drawn into the one file {output}; give a folder")
    targets: list[str | None] = [str(Path(output) / _drawn_name(picture)) for picture in pictures]
    twice = next((target for target in targets if targets.count(target) > 1), None)
    if twice:
        raise UsageError(f"two pictures would be drawn into {twice}; draw them in separate runs")
    return targets


def in_folder(folder: str, output: str | None, plot: str | None, recursive: bool) -> list[Source]:
    """Return the pictures below `folder`, sorted by path; their names and drawings have the same relative paths.

    Hidden files and folders, whose names begin with a dot, are skipped.

    Raises:
        UsageError: `folder` is a web address, or `output` or `plot` cannot hold the drawings.
        ValueError: the folder does not exist, or contains no picture.
    """
    if web.is_address(folder):
        raise UsageError(f"{folder} is an address, and `folder` reads folders; give addresses of pictures to `image`")
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"{folder} is not a folder")
    paths = sorted(path for path in root.glob("**/*" if recursive else "*") if _is_picture(path, root))
    if not paths:
        raise ValueError(f"no picture ({', '.join(sorted(_SUFFIXES))}) in {folder}")
    names, targets = [path.relative_to(root).as_posix() for path in paths], list[list[str | None]]()
    for drawings in (output, plot):
        if drawings == PIPE or (drawings is not None and Path(drawings).exists() and not Path(drawings).is_dir()):
            raise UsageError(f"the drawings of a folder cannot go to {drawings}; give a folder")
        if drawings is not None and recursive:
            check_apart(drawings, folder)
        targets.append([None if drawings is None else str(Path(drawings) / name) for name in names])
    return _sources(names, [str(path) for path in paths], *targets)


def check(args: argparse.Namespace, outputs: Iterable[str | None], inputs: Iterable[str | Path | None]) -> None:
    """Refuse an output that is an input, another output or a folder. Files that options name count as inputs.

    Raises:
        OutputRefused: an output is an input or another output.
        UsageError: an output is a folder, or stdout, which is closed.
    """
    outputs = list(outputs)
    if PIPE in outputs and sys.stdout is None:
        raise UsageError("stdout is closed; name a file with --json, or --output")
    written = ["/dev/stdout" if path == PIPE else path for path in outputs if path is not None]
    options = (args.boxes, args.tls_ca, args.tls_key, args.tls_cert)
    read = ["/dev/stdin" if path == PIPE else path for path in (*inputs, *options) if path is not None]
    folder = next((path for path in written if os.path.isdir(path)), None)
    if folder is not None:
        raise UsageError(f"{folder} is a folder; give the name of a file")
    check_outputs(written, [path for path in read if not web.is_address(str(path))])


def decode(picture: bytes) -> Pixels:
    """Return the encoded picture as (H, W, 3) uint8 BGR, upright.

    Raises:
        ValueError: OpenCV cannot decode it.
    """
    cv2 = opencv("drawing")
    image_bgr: Pixels | None = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    if image_bgr is None:
        raise ValueError("OpenCV cannot decode the picture for drawing")
    return image_bgr


def encode(image_bgr: Pixels, target: str) -> bytes:
    """Return the picture in the format of the target's suffix; PNG for stdout."""
    return bytes(opencv("drawing").imencode(_suffix(target), image_bgr)[1])


def check_drawable(targets: Iterable[str | None]) -> None:
    """Refuse drawings in formats that OpenCV cannot write; None is no drawing.

    Raises:
        ModuleNotFoundError: drawings are requested, and OpenCV is not installed (extra `draw`).
        UsageError: OpenCV does not know the format.
    """
    for suffix, target in {_suffix(target): target for target in targets if target}.items():
        if not opencv("drawing").haveImageWriter(f"x{suffix}"):
            raise UsageError(f"pictures cannot be written as {target!r}; known: {', '.join(sorted(_SUFFIXES))}")


@contextmanager
def drawn(target: str | None, picture: bytes | None) -> Iterator[None]:
    """Write the encoded drawing to its target, and remove it again when the block raises."""
    if target is None or picture is None:
        yield
        return
    if target == PIPE:
        write_all(stdout(), picture, "stdout")
    else:
        write_file(target, picture)
    try:
        yield
    except BaseException:
        if target != PIPE and not is_special(target):
            Path(target).unlink(missing_ok=True)
        raise


def stdout() -> Any:
    """Return stdout without its buffer, which would retry failed writes at exit."""
    sys.stdout.flush()
    return getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)


def write_all(raw: Any, data: bytes, name: str) -> None:
    """Write all of `data` to an unbuffered file, which may accept a part at a time; `name` is for errors."""
    left = memoryview(data)
    try:
        while left:
            left = left[raw.write(left) :]
    except OSError as error:
        error.filename = name
        raise


def _sources(names: list[str], paths: list[str], *targets: list[str | None]) -> list[Source]:
    return [Source(place, *fields) for place, fields in enumerate(zip(names, paths, *targets, strict=True))]


def _is_picture(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in _SUFFIXES and not hidden and path.is_file()


def _is_folder(output: str) -> bool:
    return output.endswith("/") or Path(output).is_dir()


def _suffix(target: str) -> str:
    return ".png" if target == PIPE else Path(target).suffix


def _file_name(picture: str) -> str:
    return web.file_name(picture) if web.is_address(picture) else Path(picture).name


def _drawn_name(picture: str) -> str:
    """Return the file name of a picture's drawing in a folder; `.png` is appended to addresses without a suffix."""
    if picture == PIPE:
        return "stdin.png"
    name = _file_name(picture)
    return name if Path(name).suffix.lower() in _SUFFIXES or not web.is_address(picture) else f"{name}.png"
