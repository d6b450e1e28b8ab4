"""The Python backend's processes (stubs), one for each instance of a model, read from /proc.

Triton neither notices nor restarts a dead one, and still reports the model as ready.
"""

import contextlib
import os
import signal
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class ThreadTime(NamedTuple):
    """Seconds in which a thread ran, seconds in which it waited for a core, and how often it got one."""

    run_s: float
    wait_s: float
    turns: int


def stubs_of(server: int) -> dict[int, str]:
    """Return the living stubs of a tritonserver: process id -> model."""
    stubs = {}
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent, _ = _stat(folder)
            if parent == server and state != "Z" and (model := _model(folder)):
                stubs[int(folder.name)] = model
    return stubs


def is_alive(stub: int, server: int) -> bool:
    """Return whether `stub` is still a living child of `server`. Its id may belong to another process by now."""
    try:
        state, parent, _ = _stat(_PROC / str(stub))
    except OSError:
        return False
    return parent == server and state != "Z"


def kill(stub: int, server: int) -> None:
    """Kill a stub of `server`, if it still is one."""
    if is_alive(stub, server):
        with contextlib.suppress(OSError):
            os.kill(stub, signal.SIGKILL)


def cpu_time_s(stub: int) -> float:
    """Return the processor time of a process in seconds; 0 when it has ended."""
    try:
        return _stat(_PROC / str(stub))[2]
    except OSError:
        return 0.0


def thread_times(server: int) -> dict[int, ThreadTime]:
    """Return the times of a process's threads by id."""
    times = {}
    for folder in (_PROC / str(server) / "task").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            times[int(folder.name)] = _thread_time(folder)
    return times


def _thread_time(folder: Path) -> ThreadTime:
    try:
        run_ns, wait_ns, turns = (folder / "schedstat").read_text().split()
    except FileNotFoundError:  # a kernel without scheduler statistics
        return ThreadTime(_stat(folder)[2], 0.0, 0)
    return ThreadTime(int(run_ns) / 1e9, int(wait_ns) / 1e9, int(turns))


def _stat(folder: Path) -> tuple[str, int, float]:
    """Return state, parent and processor time of a task (proc(5): fields 3, 4, 14 and 15 of its stat)."""
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[1]), (int(fields[11]) + int(fields[12])) * _TICK_S


def _model(folder: Path) -> str:
    """Return a stub's model, from its first argument <repository>/<model>/<version>/<file>; "" for other processes."""
    arguments = (folder / "cmdline").read_bytes().split(b"\0")
    if not arguments[0].endswith(b"triton_python_backend_stub"):
        return ""
    return Path(os.fsdecode(arguments[1])).parents[1].name
