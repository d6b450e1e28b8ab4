"""A server's private folder and shared memory, and the removal of those that killed launchers have left.

The names of folder and regions share a prefix. A launcher holds a lock on `/dev/shm/<prefix>.lock`. The kernel releases
it when the launcher dies in any way, so a prefix whose lock is free is not in use.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_SHM = Path("/dev/shm")
_PREFIX = "cigpose-server-"
_LOCK = ".lock"


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield an empty folder. At the end, remove it and every shared memory region whose name begins with its name."""
    name = f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    folder = Path(tempfile.gettempdir(), name)
    with _lock(name):
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            _remove(name)


def remove_leftovers(patience_s: float = 15) -> None:
    """End the servers of dead launchers, and remove their folders and regions.

    If another launcher is at it, wait until it has done: the dead launcher's port is in use until then.

    Args:
        patience_s: time for such a server to answer its accepted requests.
    """
    for path in _SHM.glob(f"{_PREFIX}*{_LOCK}"):
        with contextlib.suppress(OSError), path.open("rb") as file:  # OSError: locked, removed, or another user's
            name = path.name.removesuffix(_LOCK)
            launcher = name.removeprefix(_PREFIX).partition("-")[0]
            _take(file, 0 if Path("/proc", launcher).exists() else patience_s + 1)
            _end_processes(name, patience_s)
            _remove(name)


def _take(file: IO[bytes], timeout_s: float) -> None:
    """Lock a file, or raise BlockingIOError when it is still locked after this time."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.1)


@contextlib.contextmanager
def _lock(name: str) -> Iterator[None]:
    with tempfile.NamedTemporaryFile(dir=_SHM, prefix=f"{name}.", delete=False) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.rename(file.name, _SHM / f"{name}{_LOCK}")  # other launchers find the file only when it is locked
        yield


def _remove(name: str) -> None:
    shutil.rmtree(Path(tempfile.gettempdir(), name), ignore_errors=True)
    for region in sorted(_SHM.glob(f"{name}*"), key=lambda path: path.suffix == _LOCK):  # the lock last
        region.unlink(missing_ok=True)


def _end_processes(name: str, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while (left := _processes_of(name)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in left:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _processes_of(name: str) -> list[int]:
    """Return the servers and stubs that have the name inside one of their arguments."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if name.encode() in path.read_bytes():
                pids.append(int(path.parent.name))
    return pids
