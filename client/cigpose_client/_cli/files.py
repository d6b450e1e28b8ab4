"""Pictures on the disk, on the web and in pipes: what to read, where the drawn ones go."""

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
    """Arguments that do not go together, or that cannot be followed."""


@dataclass(frozen=True)
class Source:
    """One picture to read.

    Attributes:
        place: its place in the order of the pictures.
        name: how results call it.
        path: its file or web address; `-` for stdin.
        target: where the drawn picture goes, if anywhere; `-` for stdout.
        content: the encoded picture, where it is read already.
    """

    place: int
    name: str
    path: str
    target: str | None = None
    content: bytes | None = None

    @property
    def image_id(self) -> int | str:
        """The id in COCO results: the number that the file is named by, as COCO does, else the file's stem."""
        stem = Path(_file_name(self.name)).stem
        return int(stem) if stem.isdecimal() else stem

    @property
    def keys(self) -> tuple[int | str, ...]:
        """What a file of boxes may call the picture."""
        return (self.name, _file_name(self.name), self.image_id)

    @property
    def is_drawn(self) -> bool:
        """Whether the drawing, if one is asked for, is there."""
        return self.target is None or Path(self.target).is_file()

    def read(self, timeout_s: float) -> bytes:
        """Return the encoded picture; one from the web within `timeout_s` seconds."""
        if self.content is not None:
            return self.content
        return web.fetch(self.path, timeout_s) if web.is_address(self.path) else Path(self.path).read_bytes()


def listed(pictures: list[str], output: str | None) -> list[Source]:
    """Return the pictures named on the command line, with the places of their drawings.

    Raises:
        UsageError: the drawings cannot go where `output` says.
    """
    if output is None or output == PIPE or (len(pictures) == 1 and not _is_folder(output)):
        if output == PIPE and len(pictures) > 1:
            raise UsageError("only one drawn picture can go to stdout; give a folder with --output")
        return _sources(pictures, pictures, [output] * len(pictures))
    if not Path(output).is_dir() and (Path(output).exists() or Path(output).suffix.lower() in _SUFFIXES):
        raise UsageError(f"{len(pictures)} pictures cannot be drawn into the one file {output}; give a folder")
    targets = [str(Path(output) / _drawn_name(picture)) for picture in pictures]
    twice = next((target for target in targets if targets.count(target) > 1), None)
    if twice:
        raise UsageError(f"two pictures would be drawn into {twice}; run them apart")
    return _sources(pictures, pictures, targets)


def found(folder: str, output: str | None, recursive: bool) -> list[Source]:
    """Return the pictures below `folder` by name; they are called, and drawn below `output`, by their relative path.

    Hidden files and folders, whose names begin with a dot, are left out.

    Raises:
        UsageError: `folder` is a web address, or drawings cannot go where `output` says.
        ValueError: there is no such folder, or no picture in it.
    """
    if web.is_address(folder):
        raise UsageError(f"{folder} is an address, and `folder` reads folders; give addresses of pictures to `image`")
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"{folder} is no folder")
    paths = sorted(path for path in root.glob("**/*" if recursive else "*") if _is_picture(path, root))
    if not paths:
        raise ValueError(f"no picture ({', '.join(sorted(_SUFFIXES))}) in {folder}")
    if output == PIPE or (output is not None and Path(output).exists() and not Path(output).is_dir()):
        raise UsageError(f"the drawings of a folder cannot go to {output}; give a folder")
    if output is not None and recursive:
        check_apart(output, folder)
    names = [path.relative_to(root).as_posix() for path in paths]
    targets = [None if output is None else str(Path(output) / name) for name in names]
    return _sources(names, [str(path) for path in paths], targets)


def check(args: argparse.Namespace, outputs: Iterable[str | None], inputs: Iterable[str | Path | None]) -> None:
    """Refuse outputs that are inputs, one another, or folders; the files that options name are inputs, too.

    Raises:
        OutputRefused: an output is an input, or two are one file.
        UsageError: an output is a folder.
    """
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
        ValueError: it cannot be read.
    """
    cv2 = opencv("drawing")
    image_bgr: Pixels | None = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    if image_bgr is None:
        raise ValueError("the picture cannot be read for drawing")
    return image_bgr


def encode(image_bgr: Pixels, target: str) -> bytes:
    """Return the picture in the format that the name's ending says; PNG for stdout."""
    return bytes(opencv("drawing").imencode(_suffix(target), image_bgr)[1])


def check_drawable(sources: Iterable[Source]) -> None:
    """Refuse drawings in formats that OpenCV cannot write.

    Raises:
        ModuleNotFoundError: drawings are asked for, and OpenCV is not installed (extra `draw`).
        UsageError: OpenCV knows no such format.
    """
    for suffix, target in {_suffix(source.target): source.target for source in sources if source.target}.items():
        if not opencv("drawing").haveImageWriter(f"x{suffix}"):
            raise UsageError(f"pictures cannot be written as {target!r}; known: {', '.join(sorted(_SUFFIXES))}")


@contextmanager
def drawn(target: str | None, picture: bytes | None) -> Iterator[None]:
    """Put the drawn picture in its place, and take it away again when the block raises."""
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
    """Return stdout without its buffer, which would try again at exit to write what could not be written."""
    sys.stdout.flush()
    return getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)


def write_all(raw: Any, data: bytes, name: str) -> None:
    """Write all of `data` to a file without buffer, which may take less at a time; `name` is for errors."""
    left = memoryview(data)
    try:
        while left:
            left = left[raw.write(left) :]
    except OSError as error:
        error.filename = name
        raise


def _sources(names: list[str], paths: list[str], targets: list[str] | list[str | None]) -> list[Source]:
    return [Source(place, *fields) for place, fields in enumerate(zip(names, paths, targets, strict=True))]


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
    """Return the name of a picture's drawing in a folder; addresses need not end like a picture."""
    if picture == PIPE:
        return "stdin.png"
    name = _file_name(picture)
    return name if Path(name).suffix.lower() in _SUFFIXES or not web.is_address(picture) else f"{name}.png"
