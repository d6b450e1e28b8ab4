"""Servers of this checkout and of another commit, side by side, for measurements of a change."""

import contextlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from server.process import free_port
from server.stubs import cpu_time_s, stubs_of

CHECKOUT = Path(__file__).parents[1]
FRONT = "tritonserver"  # its front end, its scheduling, and the copies between models
_STOP_TIMEOUT_S = 60


@dataclass(frozen=True)
class Launched:
    """A server that `python -m server` of some checkout has started.

    Attributes:
        url: its gRPC address.
        pid: process id of tritonserver.
    """

    url: str
    pid: int

    def processes(self) -> dict[int, str]:
        """Return the processes of the server: id -> model, or `FRONT`."""
        return {self.pid: FRONT, **stubs_of(self.pid)}

    def cpu_s(self) -> dict[str, float]:
        """Return the processor time of each model's processes, and of tritonserver itself as `FRONT`."""
        used = defaultdict[str, float](float)
        for pid, model in self.processes().items():
            used[model] += cpu_time_s(pid)
        return dict(used)


@contextlib.contextmanager
def checkout_of(commit: str) -> Iterator[Path]:
    """Yield a temporary folder with the files of a commit.

    Raises:
        ValueError: git does not know the commit.
    """
    archive = subprocess.run(["git", "archive", commit], cwd=CHECKOUT, capture_output=True, check=False)
    if archive.returncode:
        raise ValueError(f"git archive {commit}: {archive.stderr.decode().strip()}; name a commit of this repository")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
        yield Path(folder)


def build(checkout: Path, pose: Path, detector: Path, output: Path) -> None:
    """Build a repository with the generator of a checkout.

    Raises:
        RuntimeError: it fails; the message is the generator's.
    """
    command = ["export", "repository", "--pose", str(pose), "--detector", str(detector), "--output", str(output)]
    built = subprocess.run(_python(command), cwd=checkout, env=_environment(checkout), capture_output=True, check=False)
    if built.returncode:
        raise RuntimeError(built.stderr.decode())


@contextlib.contextmanager
def launched(checkout: Path, repository: Path, profile: str, log: Path) -> Iterator[Launched]:
    """Run `python -m server` of a checkout until the end of the block.

    Raises:
        RuntimeError: the server does not get ready; the message ends with its log.
    """
    options = ["--repository", str(repository), "--profile", profile, "--grpc-port", str(free_port())]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            _python(["server", *options]),
            cwd=checkout,
            env=_environment(checkout),
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdout is not None
    try:
        ready = process.stdout.readline().decode()
        if not ready.startswith("ready"):
            raise RuntimeError(log.read_text(encoding="utf-8", errors="replace")[-2000:])
        yield Launched(ready.split()[-1], _tritonserver_of(process.pid))
    finally:
        process.terminate()
        process.wait(_STOP_TIMEOUT_S)
        process.stdout.close()


def _tritonserver_of(launcher: int) -> int:
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text(encoding="utf-8").split()
    return int(children[0])


def _python(words: list[str]) -> list[str]:
    module, *arguments = words
    return [sys.executable, "-m", module, *arguments]


def _environment(checkout: Path) -> dict[str, str]:
    """Return the environment in which the modules of a checkout, its client included, precede installed ones."""
    return {**os.environ, "PYTHONPATH": str(checkout / "client")}
