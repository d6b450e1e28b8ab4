"""A stop answers accepted requests; a kill leaves nothing that prevents the next start."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from server.process import free_port
from tests.reliability.launcher import is_alive, launched
from tests.reliability.load import ask

pytestmark = pytest.mark.server


def traces(launcher):
    """Return the folders and shared memory of the launcher with that process id."""
    name = f"cigpose-server-{launcher}-*"
    return [*Path(tempfile.gettempdir()).glob(name), *Path("/dev/shm").glob(name)]


@pytest.mark.parametrize(("network", "count"), [("quick", 40), ("slow", 70)])
def test_a_stop_answers_accepted_requests(tritonserver, request, tmp_path, pictures, crowded, record, network, count):
    """`count` requests are in flight when the signal comes; the server answers the accepted ones."""
    repository = request.getfixturevalue({"quick": "repository"}.get(network, network))
    picture = pictures[3] if network == "quick" else crowded[0]
    with launched(repository, tmp_path) as launcher:
        answers, done = [], threading.Semaphore(0)

        def note(result, error):
            answers.append(error)
            done.release()

        with tritonclient.grpc.InferenceServerClient(launcher.grpc_url) as client:
            image = tritonclient.grpc.InferInput("image", [1], "BYTES")
            image.set_data_from_numpy(np.array([picture], dtype=object))
            assert client.infer("pose", [image], client_timeout=60)
            for _ in range(count):
                client.async_infer("pose", [image], note, client_timeout=60)
            done.acquire(timeout=60)  # one is answered, so the others are accepted
            launcher.process.send_signal(signal.SIGTERM)
            for _ in range(count - 1):
                assert done.acquire(timeout=60)
            time.sleep(0.3)
            with pytest.raises(InferenceServerException):  # new requests are rejected
                client.infer("pose", [image], client_timeout=5)
        assert launcher.process.wait(30) == 0
        lost = [str(error) for error in answers if error]
        name, fault = f"stop-{network}", f"SIGTERM with {count} requests accepted, {network} network"
        record(name, fault=fault, tries=1, lost=len(lost))
        assert not lost
    assert not traces(launcher.process.pid)


@pytest.mark.parametrize(
    "victim", ["launcher", pytest.param("launcher and server", marks=pytest.mark.slow), "everything"]
)
def test_a_server_starts_after_a_kill(tritonserver, repository, tmp_path, pictures, expected, victim):
    port = free_port()
    with launched(repository, tmp_path, port=port) as first:
        server, stubs = first.tritonserver(), list(first.stubs())
        for pid in {"launcher": [], "launcher and server": [server], "everything": [server, *stubs]}[victim]:
            os.kill(pid, signal.SIGKILL)
        first.process.kill()
        first.process.wait()
        with launched(repository, tmp_path, port=port) as second:
            assert ask(second, pictures[3], expected[3]) == "right"
            assert not traces(first.process.pid)
            assert not any(is_alive(pid) for pid in [server, *stubs])


def killed_at_random(repository, folder, port, kills, random):
    """Start launchers and kill each one within six seconds, before or after it is ready."""
    pids = []
    for _ in range(kills):
        command = [sys.executable, "-m", "server", "--repository", str(repository), f"--grpc-port={port}"]
        with (folder / "killed.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        time.sleep(random.uniform(0.0, 6.0))
        process.kill()
        process.wait()
        pids.append(process.pid)
    return pids


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_a_server_starts_after_kills_at_random_moments(
    tritonserver, repository, tmp_path, pictures, expected, record, kills
):
    port = free_port()
    pids = killed_at_random(repository, tmp_path, port, kills, random.Random(kills))
    started = time.monotonic()
    with launched(repository, tmp_path, port=port) as server:
        seconds = time.monotonic() - started
        assert ask(server, pictures[3], expected[3]) == "right"
        left = [path for pid in pids for path in traces(pid)]
        record(f"kills-{kills}", fault="launcher killed at random moments", tries=kills, lost=0, recovery_s=seconds)
        assert not left
