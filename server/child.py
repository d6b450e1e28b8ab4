"""`child.py PARENT COMMAND...`: runs COMMAND in this process, and terminates it when the process PARENT is killed.

It is a separate program because Python code between fork and exec would run with copies of gRPC's threads and locks.
"""

import ctypes
import os
import signal
import sys

if __name__ == "__main__":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG, which outlives exec
    if os.getppid() == int(sys.argv[1]):  # otherwise the parent was killed before the call
        os.execv(sys.argv[2], sys.argv[2:])
