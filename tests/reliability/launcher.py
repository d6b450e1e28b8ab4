"""Starts `python -m server` with its health file and its log, for tests that damage it."""

import contextlib
import json
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from server import health, stubs
from server.process import free_port


@dataclass(frozen=True)
class Launched:
    process: subprocess.Popen
    port: int
    metrics_port: int
    watchdog_port: int
    health: Path
    log: Path

    @property
    def grpc_url(self):
        return f"127.0.0.1:{self.port}"

    def tritonserver(self):
        """Return the process id of the launcher's tritonserver."""
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])

    def stubs(self):
        return stubs.stubs_of(self.tritonserver())

    def watchdog_metrics(self):
        """Return the samples of the watchdog's page, `name{labels}` -> value."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.watchdog_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    def is_red(self):
        return bool(health.problem(self.health, time.time()))

    def mended(self):
        """Return the number of faults that were mended so far."""
        state = json.loads(self.health.read_text())
        return sum(state["recoveries"].values()) + state["restarts"]

    def wait_until_mended(self, before, timeout_s):
        """Wait until more than `before` faults were mended and none is left: a test may be too slow to see one."""
        return self.wait_until(lambda: self.mended() > before and not self.is_red(), timeout_s)

    def wait_until(self, condition, timeout_s):
        """Return the seconds until `condition()` was true. On a timeout, fail with the end of the log."""
        started = time.monotonic()
        while not condition():
            assert time.monotonic() - started < timeout_s, self.log.read_text(errors="replace")[-3000:]
            time.sleep(0.05)
        return time.monotonic() - started


@contextlib.contextmanager
def launched(repository, folder, *options, port=None):
    """Start the command and wait for its ready line; stop it at the end."""
    port, metrics_port, watchdog_port = port or free_port(), free_port(), free_port()
    files = {"health": folder / f"health-{port}.json", "log": folder / f"server-{port}.log"}
    command = [sys.executable, "-m", "server", "--repository", str(repository), f"--grpc-port={port}"]
    command += [f"--metrics-port={metrics_port}", f"--watchdog-port={watchdog_port}"]
    with files["log"].open("wb") as log:
        process = subprocess.Popen(
            [*command, "--health-file", str(files["health"]), *options], stdout=subprocess.PIPE, stderr=log
        )
    server = Launched(process, port, metrics_port, watchdog_port, **files)
    try:
        if not process.stdout.readline().startswith(b"ready: "):
            pytest.fail(f"the server did not get ready:\n{files['log'].read_text(errors='replace')[-3000:]}")
        yield server
    finally:
        stop(process)


def stop(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def is_alive(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
