import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from server.process import free_port
from server.scratch import remove_leftovers
from tests.networks import save_pose_network
from tests.triton import call

pytestmark = pytest.mark.server


def regions(launcher):
    return list(Path("/dev/shm").glob(f"cigpose-server-{launcher}-*"))


def processes_of(group):
    """Return the pids of a process group (fields 1, 3 and 5 of /proc/PID/stat: pid, state, group)."""
    stats = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            stats.append(path.read_text().rpartition(")"))
    return [head.split()[0] for head, _, tail in stats if int(tail.split()[2]) == group and tail.split()[0] != "Z"]


def test_free_ports_differ_and_are_below_the_ephemeral_range():
    ports = [free_port() for _ in range(300)]
    assert len(set(ports)) == 300 and max(ports) < 32768


def test_a_stopped_server_leaves_no_processes_or_regions(serve, repository):
    before = len(regions(os.getpid()))
    with serve(repository) as running:
        assert len(regions(os.getpid())) > before
        assert len(processes_of(running.process.pid)) > 5
    assert len(regions(os.getpid())) == before
    assert not processes_of(running.process.pid)


def test_a_start_waits_while_another_launcher_cleans_up_after_a_dead_one():
    dead = subprocess.Popen(["true"])
    dead.wait()
    lock = Path(f"/dev/shm/cigpose-server-{dead.pid}-00000000.lock")
    done = threading.Event()
    with lock.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def finish():
            done.set()
            lock.unlink()
            file.close()

        threading.Timer(0.5, finish).start()
        remove_leftovers()
    assert done.is_set() and not lock.exists()


def test_a_model_that_cannot_load_ends_the_server_with_its_log(serve, tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "config.pbtxt").write_text('name: "broken" backend: "python" max_batch_size: 0')
    with pytest.raises(
        RuntimeError, match=r"(?s)tritonserver (ended with 1|was ended by SIG\w+) after .*the end of its log:\n.*broken"
    ):
        with serve(tmp_path):
            pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_prints_one_line_and_stops_on_a_signal(tritonserver, repository, tmp_path, number):
    port = free_port()
    command = [sys.executable, "-m", "server", "--repository", str(repository), "--grpc-port", str(port)]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
    try:
        assert process.stdout.readline() == f"ready: gRPC on 127.0.0.1:{port}\n".encode()
        started = time.monotonic()
        process.send_signal(number)
        rest, _ = process.communicate(timeout=30)
        assert (process.returncode, rest) == (0, b"")
        assert time.monotonic() - started < 15
        assert not regions(process.pid)
    finally:
        process.kill()  # if it still runs, its server is terminated with it
        process.communicate()


def test_an_onnx_file_that_contradicts_its_config_is_rejected(serve, tritonserver, repository, tmp_path):
    """The error names the model. The stand-in backend states both sides."""
    copy = shutil.copytree(repository, tmp_path / "repository")
    save_pose_network(copy / "spots" / "1" / "model.onnx", keypoints=14)
    with pytest.raises(RuntimeError) as error:
        with serve(copy):
            pass
    assert "spots cannot load: " in str(error.value).splitlines()[-1]
    if tritonserver.has_stand_in():
        assert "the config states the inputs {'crops'" in str(error.value)
        assert "the ONNX file has {'input'" in str(error.value)


def test_http_answers_as_grpc_does(server):
    url = f"http://127.0.0.1:{server.options.http_port}/v2/models/pose/config"
    with urllib.request.urlopen(url, timeout=10) as answer:
        config = json.load(answer)
    assert config["parameters"]["keypoint_set"]["string_value"] == "coco"
    assert call(server, "pose", b"no picture", error=True).status() == "StatusCode.INVALID_ARGUMENT"
