"""Every argument of tritonserver must be a flag of the pinned server, which ends on unknown flags."""

import re
import subprocess
from collections.abc import Iterator, Sequence

from tests.deploy.checks import pods
from tests.deploy.checks.pods import Object

# Flags of servers newer than the wheel's, with their first release (source: the server's release notes).
NEWER = {"--allow-client-shm": "26.05"}


def known_to_the_wheel(python: str) -> frozenset[str]:
    """Return the flags in the help of the tritonserver that an interpreter has installed.

    Raises:
        ValueError: no tritonserver is installed.
    """
    script = (
        "import os, subprocess; from server.installation import find_installation as f; i = f();"
        "subprocess.run([str(i.binary), '--help'], env=i.environment(os.environ))"
    )
    done = subprocess.run([python, "-c", script], capture_output=True, text=True)
    found = frozenset(re.findall(r"^\s*(--[a-z][a-z-]+)", done.stdout + done.stderr, re.M))
    if "--model-repository" not in found:
        raise ValueError(f"{python} shows no help of tritonserver: {done.stderr[-300:]}")
    return found


def flags(objects: Sequence[Object], known: frozenset[str]) -> Iterator[str]:
    """Yield the flags that are unknown to the server of this variant."""
    for container in pods.servers(objects):
        allowed = known | NEWER.keys() if pods.profile(container) in pods.GPU_PROFILES else known
        for argument in container.get("args", []):
            if argument.partition("=")[0] not in allowed:
                yield f"triton: {argument.partition('=')[0]} is not a flag of its tritonserver"
