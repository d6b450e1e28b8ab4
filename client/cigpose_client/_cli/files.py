"""Pictures on the disk and in pipes: what to read, where the drawn ones go."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cigpose_client._draw import Pixels
from cigpose_client._extras import opencv

PIPE = "-"
_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}


@dataclass(frozen=True)
class Source:
    """One picture to read.

    Attributes:
        name: how results call it.
        path: its file; `-` for stdin.
        target: where the drawn picture goes, if anywhere; `-` for stdout.
    """

    name: str
    path: str
    target: str | None = None

    @property
    def image_id(self) -> int | str:
        """The id in COCO results: the number that the file is named by, as COCO does, else the file's stem."""
        stem = Path(self.name).stem
        return int(stem) if stem.isdecimal() else stem

    @property
    def keys(self) -> tuple[int | str, ...]:
        """What a file of boxes may call the picture."""
        return (self.name, Path(self.name).name, self.image_id)

    def read(self) -> bytes:
        """Return the encoded picture."""
        return sys.stdin.buffer.read() if self.path == PIPE else Path(self.path).read_bytes()


def listed(pictures: list[str], output: str | None) -> list[Source]:
    """Return the pictures named on the command line, with the places of their drawings.

    Raises:
        ValueError: several pictures cannot go where `output` says.
    """
    if output is None or output == PIPE or (len(pictures) == 1 and not _is_folder(output)):
        if output == PIPE and len(pictures) > 1:
            raise ValueError("only one drawn picture can go to stdout; give a folder with --output")
        return [Source(picture, picture, output) for picture in pictures]
    if Path(output).suffix.lower() in _SUFFIXES and not Path(output).is_dir():
        raise ValueError(f"{len(pictures)} pictures cannot be drawn into the one file {output}; give a folder")
    targets = [str(Path(output) / _file_name(picture)) for picture in pictures]
    twice = next((target for target in targets if targets.count(target) > 1), None)
    if twice:
        raise ValueError(f"two pictures would be drawn into {twice}; run them apart")
    return [Source(picture, picture, target) for picture, target in zip(pictures, targets, strict=True)]


def found(folder: str, output: str | None, recursive: bool) -> list[Source]:
    """Return the pictures below `folder` by name; they are called, and drawn below `output`, by their relative path.

    Raises:
        ValueError: there is no such folder, or no picture in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"{folder} is no folder")
    paths = sorted(path for path in root.glob("**/*" if recursive else "*") if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise ValueError(f"no picture ({', '.join(sorted(_SUFFIXES))}) in {folder}")
    names = [path.relative_to(root).as_posix() for path in paths]
    targets = [None if output is None else str(Path(output) / name) for name in names]
    return [Source(name, str(path), target) for name, path, target in zip(names, paths, targets, strict=True)]


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


def write(image_bgr: Pixels, target: str) -> None:
    """Write the picture in the format that the name's ending says; PNG to stdout.

    Raises:
        ValueError: OpenCV knows no such format.
    """
    cv2 = opencv("drawing")
    suffix = ".png" if target == PIPE else Path(target).suffix
    if not cv2.haveImageWriter(f"x{suffix}"):
        raise ValueError(f"pictures cannot be written as {target!r}; known: {', '.join(sorted(_SUFFIXES))}")
    data = cv2.imencode(suffix, image_bgr)[1].tobytes()
    if target == PIPE:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_bytes(data)


def _is_folder(output: str) -> bool:
    return output.endswith("/") or Path(output).is_dir()


def _file_name(picture: str) -> str:
    return "stdin.png" if picture == PIPE else Path(picture).name
