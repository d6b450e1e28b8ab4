"""Output files: never an input, and either complete or absent. Shared with the commands of the checkout."""

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
    """An output would overwrite an input, another output, or files that this project did not write."""


def check_outputs(outputs: Iterable[PathLike], inputs: Iterable[PathLike] = ()) -> None:
    """Refuse outputs that are an input or another output. Call it before any file is opened.

    Files are compared by identity, so links and other spellings of a path are detected. Folders are compared as such:
    list the files inside them to compare those.

    Raises:
        OutputRefused: two paths name one file; the message names both.
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
    """Refuse an output folder that is, contains or lies in the input folder.

    Raises:
        OutputRefused: the folders are the same, or one lies in the other.
    """
    written, read = (Path(os.path.realpath(path)) for path in (output, folder))
    ancestors = {_identity(path) for path in (written, *written.parents)}
    if _identity(read) in ancestors or _identity(written) in {_identity(path) for path in (read, *read.parents)}:
        raise OutputRefused(
            f"{os.fspath(output)} overlaps the input folder {os.fspath(folder)}; choose a separate output folder"
        )


def is_special(path: PathLike) -> bool:
    """Return whether `path` exists and is neither a file nor a folder, but a pipe, a terminal or /dev/null."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


class Part:
    """A temporary file beside its target, which replaces the target when it is complete.

    A killed process leaves the temporary file behind, and `leftovers` finds it. Missing folders above the target are
    created. A link is followed: the file that it names is replaced.

    Attributes:
        target: the file to replace.
        path: the temporary file, empty at first. It has the target's suffix, and its name begins with a dot.

    Raises:
        OSError: the temporary file cannot be created.
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
            error.filename = os.fspath(path)  # the caller does not know the temporary name
            raise
        if not _lock(self._lock) or fcntl is None:  # Windows cannot replace an open file
            self._lock.close()

    def place(self) -> None:
        """Replace the target; its permissions are kept."""
        if self.target.exists():
            shutil.copymode(self.target, self.path)
        os.replace(self.path, self.target)
        self._lock.close()

    def discard(self) -> None:
        """Remove the temporary file, unless `place` was called; the target is unchanged."""
        self.path.unlink(missing_ok=True)
        self._lock.close()

    def leave(self) -> None:
        """Keep the temporary file for `leftovers`; the target is unchanged."""
        self._lock.close()


@contextmanager
def replacing(path: PathLike, mode: str = "wb") -> Iterator[IO[Any]]:
    """Yield a file that replaces `path` when the block ends, and is removed when the block raises.

    Pipes and devices are written directly; for files see `Part`.

    Args:
        path: the target.
        mode: `wb`, or `w` for UTF-8 text.

    Raises:
        OSError: the file cannot be written; the old one is unchanged.
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
    finally:
        part.discard()


def write_file(path: PathLike, content: bytes | str) -> None:
    """Write all of `content` to `path`, or nothing. Raises: see `replacing`; the error names `path`."""
    try:
        with replacing(path, "wb" if isinstance(content, bytes) else "w") as stream:
            stream.write(content)
    except OSError as error:
        if error.errno is not None:  # otherwise the whole message would become "[Errno None] None"
            error.filename = os.fspath(path)
        raise


def leftovers(paths: Iterable[PathLike]) -> list[Path]:
    """Return the temporary files that killed processes left beside these targets, the newest first.

    Where the system has file locks, those of running processes are excluded.
    """
    targets = {Path(os.path.realpath(path)) for path in paths}
    wanted = {(target.parent, *_label(target)) for target in targets}
    parts = []
    for folder in {target.parent for target in targets if os.access(target.parent, os.R_OK)}:
        matches = ((path, _PART.fullmatch(path.name)) for path in folder.iterdir())
        parts += [path for path, match in matches if match and (folder, match[1], match[2] or "") in wanted]
    return sorted((path for path in parts if _is_free(path)), key=lambda path: -path.stat().st_mtime_ns)


def claim_folder(path: PathLike, entries: Iterable[str]) -> Path:
    """Create the folder `path`, or remove `entries` from it, and return it. Nothing else in it is changed.

    Only entries that an earlier run has claimed are removed. The claims are in a marker file in the folder.

    Args:
        path: the folder.
        entries: names of the files and folders that the caller will write into it.

    Raises:
        OutputRefused: `path` is a file, or contains one of `entries` that no earlier run has claimed.
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
    """Return the stem and the suffix of a target's temporary files; a long stem is hashed, to fit into 255 bytes."""
    if len(os.fsencode(target.name)) <= _LONGEST_NAME:
        return target.stem, target.suffix
    return hashlib.sha256(os.fsencode(target.name)).hexdigest()[:32], target.suffix[:16]


def _lock(file: IO[bytes]) -> bool:
    """Lock `file` until it is closed, and return whether no other process holds the lock; True without file locks."""
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
    except OSError:  # removed, or not readable
        return False


def _identity(path: PathLike) -> object:
    try:
        status = os.stat(path)
    except OSError:  # does not exist yet: compare its name, with every link resolved
        return os.path.realpath(path)
    return status.st_dev, status.st_ino
