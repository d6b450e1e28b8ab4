"""What the processes of one server use: processor time by model, memory."""

from collections import defaultdict
from pathlib import Path

from server.process import RunningServer
from server.stubs import cpu_time_s, stubs_of

FRONT = "tritonserver"  # the front end, the scheduling, and every copy from model to model
_MIB = 2**20


def cpu_seconds(server: RunningServer) -> dict[str, float]:
    """Return the processor time so far of each Python-backend model, and of tritonserver itself as `FRONT`."""
    used = defaultdict[str, float](float, {FRONT: cpu_time_s(server.process.pid)})
    for stub, model in stubs_of(server.process.pid).items():
        used[model] += cpu_time_s(stub)
    return dict(used)


def memory_mib(server: RunningServer) -> float:
    """Return the memory of all its processes; shared pages count once (PSS)."""
    return sum(map(_pss_kib, (server.process.pid, *stubs_of(server.process.pid)))) / 1024


def shared_memory_mib(server: RunningServer) -> float:
    """Return what the server's regions in /dev/shm take."""
    arguments = Path(f"/proc/{server.process.pid}/cmdline").read_bytes().decode().split("\0")
    prefix = next(it.partition("shm-region-prefix-name=")[2] for it in arguments if "shm-region-prefix-name=" in it)
    return sum(path.stat().st_blocks * 512 for path in Path("/dev/shm").glob(f"{prefix}*")) / _MIB


def _pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
