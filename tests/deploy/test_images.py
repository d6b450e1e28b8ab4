import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
from cigpose_client import PoseClient

from deploy import pod
from server.process import free_port
from tests.deploy import plain_folder

pytestmark = pytest.mark.server
_DOCKER = plain_folder.DOCKERFILE.parent
_STEPS = sorted(path.parts[-3] for path in (plain_folder.CHECKOUT / "model_repository").glob("*/1/model.py"))


@pytest.fixture(scope="module")
def image(tmp_path_factory, tritonserver, repository):
    if tritonserver.wheel is None:
        pytest.skip("the CPU image takes its server from the wheel")
    return plain_folder.build(tmp_path_factory.mktemp("image"), repository)


@pytest.fixture(scope="module")
def container(image, tmp_path_factory):
    port, log = free_port(), tmp_path_factory.mktemp("log") / "server.log"
    flags = pod.flags("overlays/cpu/deployment.yaml")
    with plain_folder.running(image, port, log, instead=flags) as process:
        yield process, f"127.0.0.1:{port}"


def test_the_images_pins_are_the_projects(image):
    def pins(path):
        return set(re.findall(r"^(\S+==\S+)", path.read_text(encoding="utf-8"), re.M))

    ours = pins(plain_folder.CHECKOUT / "requirements" / "base.txt")
    assert ours, "the project's pins"
    for path in _DOCKER.glob("requirements-*.txt"):
        assert pins(path) <= ours, path.name


def test_it_answers(container):
    picture = np.zeros((40, 60, 3), np.uint8)
    with PoseClient(container[1], timeout_s=30) as client:
        poses = client.estimate_boxes(picture, [(0, 0, 30, 40)])
    assert poses.keypoints.shape == (1, 17, 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get_model_config("pose"),
        lambda client: client.get_model_repository_index(),
        lambda client: client.get_inference_statistics("pose"),
        lambda client: client.get_system_shared_memory_status(),
        lambda client: client.get_trace_settings(),
        lambda client: client.get_log_settings(),
        lambda client: client.unload_model("pose"),
    ],
)
def test_the_administrative_api_is_closed(container, call):
    with tritonclient.grpc.InferenceServerClient(container[1]) as client:
        with pytest.raises(tritonclient.grpc.InferenceServerException, match="restricted"):
            call(client)


def test_a_changed_repository_does_not_start(image, tmp_path):
    changed = plain_folder.Image(image.root, tmp_path)
    (tmp_path / "pose").mkdir()
    done = subprocess.run(
        changed.command(plain_folder.default_flags()), cwd=image.root, env=image.environment, capture_output=True
    )
    assert done.returncode == 1
    assert b"MANIFEST.sha256 is missing" in done.stderr


@pytest.mark.parametrize("step", _STEPS)
def test_the_liveness_probe_tells_a_dead_step_from_a_living_server(image, tmp_path, step):
    port = free_port()
    with plain_folder.running(image, port, tmp_path / "server.log") as process:
        assert _probe(port).returncode == 0
        stubs = list(_stubs_of(process.pid, step))
        assert stubs
        for stub in stubs:
            os.kill(stub, signal.SIGKILL)
        assert [_probe(port).returncode for _ in range(2)] == [1, 1]
        with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
            assert client.is_server_ready(), "this is why an inference is needed"
        process.kill()  # its own end would wait half a minute for the dead step
    assert _probe(port).returncode == 1, "nobody listens any more"


def test_the_liveness_probe_needs_no_administrative_api(container):
    done = _probe(container[1].rpartition(":")[2])
    assert (done.returncode, done.stdout.split()[:2]) == (0, ["ok", "pose:"])


def _probe(port):
    command = [plain_folder.CLIENT, *plain_folder.liveness_arguments(), f"--url=127.0.0.1:{port}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=15)


def _stubs_of(server, model):
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            parent = int((path.parent / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == server and f"/{model}/" in path.read_text():
                yield int(path.parent.name)
