"""A model repository in object storage: a real S3 server, and the programs that copy from it in a pod."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import time
import urllib.request

import numpy as np
import pytest
from cigpose_client import PoseClient

from deploy import start
from server import manifest
from server.process import free_port
from tests.deploy import manifests, plain_folder, tools
from tests.deploy.manifests import DEPLOY

pytestmark = pytest.mark.server
_COMPONENT = DEPLOY / "components" / "object-storage" / "deployment.yaml"
_KEYS = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "secret"}


class Storage:
    """An S3 server with the repository of the manifests in it."""

    def __init__(self, url, folder):
        self.url = url
        self.home = folder / "home"
        (self.home / ".aws").mkdir(parents=True)
        settings = {
            "config": f"[default]\nregion = eu-central-1\nendpoint_url = {url}\n",
            "credentials": "[default]\naws_access_key_id = reader\naws_secret_access_key = secret\n",
        }
        for name, text in settings.items():
            (self.home / ".aws" / name).write_text(text)

    def run(self, *command):
        """Run the AWS command with the files of the Secret as its only settings."""
        environment = {"HOME": str(self.home), "PATH": f"{tools.STORAGE}:{os.defpath}"}
        return subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)

    def copied(self, target, prefix="current"):
        """Run the init container's command with other folders, and return `target`, which replaces /repository."""
        (command,) = re.findall(r"value: \[(aws, .*)\]", _COMPONENT.read_text(encoding="utf-8"))
        target.mkdir()
        changes = {"/repository": str(target), "s3://cigpose-models/current": f"s3://cigpose-models/{prefix}"}
        self.run(*[changes.get(word, word) for word in command.split(", ")])
        return target


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    if not (tools.STORAGE / "moto_server").is_file():
        pytest.skip("no S3 server here; `python -m tests.deploy.tools` fetches it")
    folder = tmp_path_factory.mktemp("storage")
    url = f"http://127.0.0.1:{(port := free_port())}"
    with (folder / "log").open("wb") as log:
        command = [tools.STORAGE / "moto_server", "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait(url, process)
        yield Storage(url, folder)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def image(tritonserver, repository, storage, tmp_path_factory):
    """The CPU image, whose repository is uploaded by the command of docs/deploy.md."""
    if tritonserver.wheel is None:
        pytest.skip("the CPU image takes its server from the wheel")
    built = plain_folder.build(tmp_path_factory.mktemp("image"), repository)
    page = (DEPLOY.parent / "docs" / "deploy.md").read_text(encoding="utf-8")
    (upload,) = re.findall(r"^ *(aws s3 cp .*)$", page, re.M)
    storage.run("aws", "s3", "mb", "s3://cigpose-models")
    storage.run(*[word.replace("out/models", str(built.models)) for word in shlex.split(upload)])
    return built


def test_a_server_starts_on_what_the_init_container_has_copied(image, storage, tmp_path):
    models = storage.copied(tmp_path / "models")
    assert manifest.problems(models) == []
    port, flags = free_port(), manifests.flags("overlays/cpu/deployment.yaml")
    copied = plain_folder.Image(image.root, models)
    with plain_folder.running(copied, port, tmp_path / "server.log", instead=flags):
        with PoseClient(f"127.0.0.1:{port}", timeout_s=30) as client:
            poses = client.estimate_boxes(np.zeros((40, 60, 3), np.uint8), [(0, 0, 30, 40)])
    assert poses.keypoints.shape == (1, 17, 2)


def test_a_truncated_and_a_lost_object_are_refused_by_name(image, storage, tmp_path, capsys):
    network, config = "detector/1/model.onnx", "pose/config.pbtxt"
    folder = shutil.copytree(image.models, tmp_path / "uploaded")
    (folder / network).write_bytes((folder / network).read_bytes()[:-100])
    (folder / config).unlink()
    storage.run("aws", "s3", "cp", "--recursive", str(folder), "s3://cigpose-models/broken")
    models = storage.copied(tmp_path / "models", "broken")
    assert start.main([f"--model-repository={models}"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"error: {config} is missing", f"error: {network} was changed"]


def test_kserves_initializer_copies_every_file(image, storage, tmp_path):
    """It skips empty files, so the repository must hold none."""
    (uri,) = re.findall(r"storageUri: (s3://\S+)", (DEPLOY / "kserve.yaml").read_text(encoding="utf-8"))
    environment = {**os.environ, **_KEYS, "AWS_ENDPOINT_URL": storage.url, "AWS_DEFAULT_REGION": "eu-central-1"}
    script = f"from kserve_storage import Storage; Storage.download({uri!r}, {str(tmp_path / 'models')!r})"
    command = [tools.STORAGE / "python", "-c", script]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
    assert manifest.problems(tmp_path / "models") == []


def _wait(url, process):
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, "the S3 server has ended"
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{url}/moto-api/", timeout=5).close()
        assert time.monotonic() < deadline, "the S3 server does not answer"
        time.sleep(0.1)
