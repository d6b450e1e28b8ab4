"""Output files: never an input, and complete or absent. Used by this distribution's command and by the checkout's."""

import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

PathLike: TypeAlias = str | os.PathLike[str]

_MARKER = ".cigpose-output"


class OutputRefused(ValueError):
    """An output would destroy something: an input, another output, or a folder that this project did not make."""


def check_outputs(outputs: Iterable[PathLike], inputs: Iterable[PathLike] = ()) -> None:
    """Refuse outputs that are inputs, or one another; call it before anything is opened.

    Files are compared by identity, so links and other spellings of a path are found. An output that is a folder must
    not be an input; files inside it are the caller's to list.

    Raises:
        OutputRefused: two paths are one file; the message names both.
    """
    known = {_identity(path): f"the input {os.fspath(path)}" for path in inputs}
    for path in outputs:
        if is_special(path):  # /dev/null and pipes may be shared
            continue
        identity = _identity(path)
        if identity in known:
            raise OutputRefused(f"{os.fspath(path)} would overwrite {known[identity]}; choose another output")
        known[identity] = f"the output {os.fspath(path)}"


def check_apart(output: PathLike, folder: PathLike) -> None:
    """Refuse an output folder that is, holds or lies in the folder which is searched for inputs.

    Raises:
        OutputRefused: one of the folders is, or lies in, the other.
    """
    written, read = (Path(os.path.realpath(path)) for path in (output, folder))
    ancestors = {_identity(path) for path in (written, *written.parents)}
    if _identity(read) in ancestors or _identity(written) in {_identity(path) for path in (read, *read.parents)}:
        raise OutputRefused(
            f"{os.fspath(output)} and the input folder {os.fspath(folder)} lie in one another; choose a folder apart"
        )


def is_special(path: PathLike) -> bool:
    """Return whether `path` exists and is neither a file nor a folder: a pipe, a terminal, /dev/null."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def replacing(path: PathLike, mode: str = "wb") -> Iterator[IO[Any]]:
    """Yield a file that takes the place of `path` when the block ends, and vanishes when the block raises.

    Folders above `path` are made. A link is followed: the file that it names is replaced. Pipes and devices are
    written to as they are.

    Args:
        path: the target.
        mode: `wb`, or `w` for UTF-8 text.

    Raises:
        OSError: the file cannot be written; the old one is left as it was.
    """
    encoding = None if "b" in mode else "utf-8"
    if is_special(path):
        with open(path, mode, encoding=encoding) as stream:
            yield stream
        return
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        raise IsADirectoryError(f"{os.fspath(path)} is a folder; give the name of a file")
    part = target.with_name(f".{target.stem[:100]}.{secrets.token_hex(4)}.part{target.suffix}")
    try:
        with open(part, mode.replace("w", "x"), encoding=encoding) as stream:
            yield stream
        if target.exists():
            shutil.copymode(target, part)
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_file(path: PathLike, content: bytes | str) -> None:
    """Write `content` to `path`, whole or not at all. Raises: see `replacing`."""
    with replacing(path, "wb" if isinstance(content, bytes) else "w") as stream:
        stream.write(content)


def claim_folder(path: PathLike, entries: Iterable[str]) -> Path:
    """Make `path` a folder in which none of `entries` exists, and return it. Nothing else in it is touched.

    Entries that an earlier run wrote after its own claim are removed; the claim is a marker file in the folder.

    Args:
        path: the folder.
        entries: names of the files and folders that the caller is about to write into it.

    Raises:
        OutputRefused: `path` is a file, or holds one of `entries` that was not written after a claim.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise OutputRefused(f"{folder} is a file; choose another output folder")
    marker = folder / _MARKER
    claimed = marker.read_text(encoding="utf-8").splitlines() if marker.is_file() else []
    present = [name for name in entries if os.path.lexists(folder / name)]
    foreign = sorted(set(present) - set(claimed))
    if foreign:
        raise OutputRefused(f"{folder} holds {', '.join(foreign)}, not written by this command; choose a new folder")
    for entry in (folder / name for name in present):
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    write_file(marker, "\n".join(sorted({*claimed, *entries})) + "\n")
    return folder


def _identity(path: PathLike) -> object:
    try:
        status = os.stat(path)
    except OSError:  # not there yet: its name, with every link resolved
        return os.path.realpath(path)
    return status.st_dev, status.st_ino
