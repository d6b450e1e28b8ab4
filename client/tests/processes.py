"""The command in a process of its own."""

import os
import subprocess
import sys

import cigpose_client

_PATH = os.path.dirname(os.path.dirname(cigpose_client.__file__))
_LIMITED = """
import resource, shutil, sys
limit, ffmpeg, *argv = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
shutil.which = lambda name: ffmpeg or None
from cigpose_client.__main__ import run
sys.argv = ["cigpose-client", *argv]
run()
"""


def started(*argv, **options):
    """Start the command."""
    return subprocess.Popen([sys.executable, "-m", "cigpose_client", *map(str, argv)], env=_environment(), **options)


def ran(*argv, **options):
    """Run the command and return the process with its stderr."""
    command = [sys.executable, "-m", "cigpose_client", *map(str, argv)]
    return subprocess.run(command, env=_environment(), stderr=subprocess.PIPE, text=True, check=False, **options)


def ran_without_stdout(*argv):
    """Run the command with stdout closed, and return the process with its stderr."""
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "cigpose_client", *map(str, argv)]
    return subprocess.run(command, env=_environment(), stderr=subprocess.PIPE, text=True, check=False)


def ran_on_a_full_disk(limit, *argv, ffmpeg="", **options):
    """Run the command with a limit of bytes for each file; `ffmpeg` is its path, or empty for none."""
    command = [sys.executable, "-c", _LIMITED, str(limit), ffmpeg, *map(str, argv)]
    return subprocess.run(command, env=_environment(), stderr=subprocess.PIPE, text=True, check=False, **options)


def _environment():
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return environment | {"PYTHONPATH": _PATH}
