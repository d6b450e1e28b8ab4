"""Resources of a server: processes, open files, shared memory regions, memory."""

import re
import threading
from pathlib import Path

from server import stubs

_PAGE = 4096


def footprint(server):
    """Return counts of what the processes of a tritonserver hold (size of regions in MB), and their memory in MB."""
    pids = [server, *stubs.stubs_of(server)]
    files = sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)
    regions = [path.stat().st_size for path in Path("/dev/shm").glob(f"{_region_prefix(server)}*")]
    held = {"processes": len(pids), "files": files, "regions": len(regions), "regions_mb": sum(regions) / 1e6}
    return held, resident_mb(pids)


def _region_prefix(server):
    (flag,) = re.findall(rb"shm-region-prefix-name=([^\0]+)", Path(f"/proc/{server}/cmdline").read_bytes())
    return flag.decode()


def resident_mb(pids):
    """Return the sum of the resident memory of processes; shared memory counts once for each of them."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * _PAGE / 1e6


class Memory:
    """The peak of the resident memory of a server's processes during a block, in MB."""

    def __init__(self, server):
        self._pids = [server, *stubs.stubs_of(server)]
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.peak_mb = self.before_mb = resident_mb(self._pids)

    def _watch(self):
        while not self._done.wait(0.25):
            self.peak_mb = max(self.peak_mb, resident_mb(self._pids))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()
