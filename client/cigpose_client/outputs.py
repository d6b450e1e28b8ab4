"""Output files: never an input, and complete or absent. Used by this distribution's command and by the checkout's."""

import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PathLike: TypeAlias = str | os.PathLike[str]

_MARKER = ".cigpose-output"
_PART = re.compile(r"\.(.*)\.[0-9a-f]{8}\.part(\.[^.]*)?", re.DOTALL)
_LONGEST_NAME = 240  # bytes, which leaves room for the rest of a temporary name


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


class Part:
    """A temporary file beside its target, which takes the target's place when it is complete.

    A killed process leaves it behind; `leftovers` finds it. Folders above the target are made, and a link is followed:
    the file that it names is replaced.

    Attributes:
        target: the file to be replaced.
        path: the temporary file, empty at first. It has the target's ending, and its name begins with a dot.

    Raises:
        OSError: no file can be made there.
    """

    def __init__(self, path: PathLike):
        self.target = Path(os.path.realpath(path))
        self.target.parent.mkdir(parents=True, exist_ok=True)
        if self.target.is_dir():
            raise IsADirectoryError(f"{os.fspath(path)} is a folder; give the name of a file")
        label, suffix = _label(self.target)
        self.path = self.target.with_name(f".{label}.{secrets.token_hex(4)}.part{suffix}")
        try:
            self._lock = open(self.path, "xb")
        except OSError as error:
            error.filename = os.fspath(path)  # nobody knows the temporary name
            raise
        if not _lock(self._lock) or fcntl is None:  # Windows replaces no open file
            self._lock.close()

    def place(self) -> None:
        """Put the file in the place of its target."""
        if self.target.exists():
            shutil.copymode(self.target, self.path)
        os.replace(self.path, self.target)
        self._lock.close()

    def discard(self) -> None:
        """Remove the file; the target stays as it was."""
        self.path.unlink(missing_ok=True)
        self._lock.close()

    def leave(self) -> None:
        """Leave the file where `leftovers` finds it; the target stays as it was."""
        self._lock.close()


@contextmanager
def replacing(path: PathLike, mode: str = "wb") -> Iterator[IO[Any]]:
    """Yield a file that takes the place of `path` when the block ends, and vanishes when the block raises.

    Pipes and devices are written to as they are; for all else see `Part`.

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
    part = Part(path)
    try:
        with open(part.path, mode, encoding=encoding) as stream:
            yield stream
        part.place()
    except BaseException:
        part.discard()
        raise


def write_file(path: PathLike, content: bytes | str) -> None:
    """Write `content` to `path`, whole or not at all. Raises: see `replacing`; the error names `path`."""
    try:
        with replacing(path, "wb" if isinstance(content, bytes) else "w") as stream:
            stream.write(content)
    except OSError as error:
        error.filename = os.fspath(path)
        raise


def leftovers(paths: Iterable[PathLike]) -> list[Path]:
    """Return the temporary files that killed processes left beside these targets, the newest first.

    Those of processes that still run are left out, where the system has file locks.
    """
    targets = {Path(os.path.realpath(path)) for path in paths}
    wanted = {(target.parent, *_label(target)) for target in targets}
    found = []
    for folder in {target.parent for target in targets if os.access(target.parent, os.R_OK)}:
        matches = ((path, _PART.fullmatch(path.name)) for path in folder.iterdir())
        found += [path for path, match in matches if match and (folder, match[1], match[2] or "") in wanted]
    return sorted((path for path in found if _is_free(path)), key=lambda path: -path.stat().st_mtime_ns)


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


def _label(target: Path) -> tuple[str, str]:
    """Return the stem and the ending by which a target's temporary files are named; file systems allow 255 bytes."""
    if len(os.fsencode(target.name)) <= _LONGEST_NAME:
        return target.stem, target.suffix
    return hashlib.sha256(os.fsencode(target.name)).hexdigest()[:32], target.suffix[:16]


def _lock(file: IO[bytes]) -> bool:
    """Lock `file` until it is closed, and return whether that was possible; without file locks it always is."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _is_free(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return _lock(file)
    except OSError:  # gone, or not readable
        return False


def _identity(path: PathLike) -> object:
    try:
        status = os.stat(path)
    except OSError:  # not there yet: its name, with every link resolved
        return os.path.realpath(path)
    return status.st_dev, status.st_ino
