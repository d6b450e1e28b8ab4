"""`child.py PARENT COMMAND...`: become COMMAND, to be terminated when the process PARENT is killed.

A program of its own, because code of ours between fork and exec would run with copies of gRPC's threads and locks.
"""

import ctypes
import os
import signal
import sys

if __name__ == "__main__":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG, which outlives exec
    if os.getppid() == int(sys.argv[1]):  # else it was killed before we could ask
        os.execv(sys.argv[2], sys.argv[2:])
