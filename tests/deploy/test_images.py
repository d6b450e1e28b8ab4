import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
from cigpose_client import PoseClient

from server import manifest
from server.process import free_port
from tests.deploy import manifests, plain_folder

pytestmark = pytest.mark.server
_DOCKER = plain_folder.DOCKERFILE.parent
_GPU = _DOCKER / "Dockerfile"
_STEPS = sorted(path.parts[-3] for path in (plain_folder.CHECKOUT / "model_repository").glob("*/1/model.py"))


@pytest.fixture(scope="module")
def image(tmp_path_factory, tritonserver, repository):
    if tritonserver.wheel is None:
        pytest.skip("the CPU image takes its server from the wheel")
    return plain_folder.build(tmp_path_factory.mktemp("image"), repository)


@pytest.fixture(scope="module")
def container(image, tmp_path_factory):
    port, log = free_port(), tmp_path_factory.mktemp("log") / "server.log"
    flags = manifests.flags("overlays/cpu/deployment.yaml")
    with plain_folder.running(image, port, log, instead=flags) as process:
        yield process, f"127.0.0.1:{port}"


def test_the_images_pin_the_projects_versions(image):
    def pins(path):
        return set(re.findall(r"^(\S+==\S+)", path.read_text(encoding="utf-8"), re.M))

    ours = set.union(*(pins(plain_folder.CHECKOUT / "requirements" / f"{name}.txt") for name in ("base", "gateway")))
    assert ours, "the project's pins"
    for path in _DOCKER.glob("requirements-*.txt"):
        assert pins(path) <= ours, path.name


@pytest.mark.parametrize("dockerfile", [plain_folder.DOCKERFILE, _GPU], ids=lambda path: path.name)
def test_the_first_stage_copies_the_files_of_the_wheel(dockerfile, tmp_path):
    """The client links to files of `ensemble/`."""
    first = dockerfile.read_text(encoding="utf-8").split("\nFROM ")[1]
    ignored = Path(f"{dockerfile}.dockerignore").read_text(encoding="utf-8").split()
    for source, target in re.findall(r"^COPY (\S+) /(build/\S+)$", first, re.M):
        assert any(Path(source).match(line[1:]) for line in ignored if line.startswith("!")), source
        plain_folder.copy(plain_folder.CHECKOUT / source, tmp_path / target)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=tmp_path / "build" / "client", check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert {"cigpose_client/_keypoints.py", "cigpose_client/keypoint_sets.json"} <= {*archive.namelist()}


def test_the_cpu_image_serves(container):
    picture = np.zeros((40, 60, 3), np.uint8)
    with PoseClient(container[1], timeout_s=30) as client:
        poses = client.estimate_boxes(picture, [(0, 0, 30, 40)])
    assert poses.keypoints.shape == (1, 17, 2)


@pytest.mark.parametrize(
    "call",
    [
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


@pytest.fixture
def models(image, tmp_path):
    """The repository as it was sealed, without the compiled Python of the servers above."""
    return shutil.copytree(image.models, tmp_path / "models", ignore=shutil.ignore_patterns("__pycache__"))


def test_the_init_container_copies_the_sealed_repository(models, tmp_path):
    base = (plain_folder.CHECKOUT / "deploy" / "base" / "deployment.yaml").read_text(encoding="utf-8")
    (command,) = re.findall(r"image: cigpose-models\n +command: \[(.*)\]", base)
    repository = tmp_path / "repository"
    repository.mkdir()
    places = {"/models": str(models), "/repository": str(repository)}
    subprocess.run([re.sub(r"^/\w+", lambda place: places[place[0]], word) for word in command.split(", ")], check=True)
    assert list(repository.glob("*/config.pbtxt"))
    assert manifest.problems(repository) == []


@pytest.fixture
def gpu_image(tmp_path):
    """The GPU image's own files. A program that prints its arguments replaces NVIDIA's tritonserver."""
    root, server = plain_folder.copied(_GPU, tmp_path / "opt"), tmp_path / "bin" / "tritonserver"
    server.parent.mkdir()
    server.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    server.chmod(0o755)
    environment = {"PATH": f"{server.parent}:{os.environ['PATH']}", "PYTHONPATH": str(root)}

    def start(models):
        flags = [flag.replace("=/models", f"={models}") for flag in plain_folder.instruction("CMD", _GPU)]
        command = [sys.executable, *plain_folder.instruction("ENTRYPOINT", _GPU)[1:], *flags]
        return flags, subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)

    return start


def test_the_gpu_image_starts_the_server_on_path_and_locks_it(gpu_image, models):
    flags, done = gpu_image(models)
    assert done.returncode == 0, done.stderr
    *given, lock = json.loads(done.stdout)
    assert given == flags
    assert lock.startswith("--grpc-restricted-protocol=")


def test_the_gpu_image_does_not_start_on_a_changed_repository(gpu_image, models):
    (models / "pose" / "config.pbtxt").write_text("another")
    _, done = gpu_image(models)
    assert (done.returncode, done.stdout) == (1, "")
    assert "pose/config.pbtxt was changed" in done.stderr


def test_the_gpu_image_keeps_only_the_backends_in_use(tmp_path):
    server = tmp_path / "opt" / "tritonserver"
    for kept in ("backends/onnxruntime", "backends/python", "bin", "lib"):
        (server / kept).mkdir(parents=True)
    for dropped in ("backends/tensorrt", "backends/dali", "backends/vllm", "caches/redis", "repoagents/checksum"):
        (server / dropped).mkdir(parents=True)
        (server / dropped / "lib.so").touch()
    (command,) = re.findall(r"^RUN (find /opt/tritonserver/backends .*)$", plain_folder.last_stage(_GPU), re.M)
    subprocess.run(["bash", "-euo", "pipefail", "-c", command.replace("/opt/", f"{tmp_path}/opt/")], check=True)
    left = {path.relative_to(server).as_posix() for path in server.rglob("*")}
    assert left == {"backends", "backends/onnxruntime", "backends/python", "bin", "lib"}


def test_a_changed_repository_does_not_start(image, tmp_path):
    changed = plain_folder.Image(image.root, tmp_path)
    (tmp_path / "pose").mkdir()
    done = subprocess.run(
        changed.command(plain_folder.default_flags()), cwd=image.root, env=image.environment, capture_output=True
    )
    assert done.returncode == 1
    assert b"MANIFEST.sha256 is missing" in done.stderr


@pytest.mark.parametrize("step", _STEPS)
def test_the_liveness_probe_detects_a_dead_step(image, tmp_path, step):
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
        process.kill()  # SIGTERM would wait half a minute for the dead step
    assert _probe(port).returncode == 1, "the server has ended"


def test_the_guides_kill_command_finds_the_steps_processes(container):
    guide = (plain_folder.CHECKOUT / "docs" / "deploy.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"sh -c '(kill -9 [^']*)'", guide)
    assert command.startswith("kill -9 $(")
    harmless = command.replace("kill -9", "echo", 1).replace("\\|", "|")  # a pipe in a Markdown table is escaped
    found = subprocess.run(["sh", "-c", harmless], capture_output=True, text=True, check=True).stdout
    stubs = set(_stubs_of(container[0].pid, "crop_persons"))
    assert stubs and stubs <= set(map(int, found.split()))


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
