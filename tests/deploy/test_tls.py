"""The component tls on a real server: its flags, and its probes as the kubelet runs them."""

import re
import shutil
import subprocess

import pytest
from cigpose_client import PoseClient, ServerUnavailable, Tls

from server.process import free_port
from tests.deploy import manifests, plain_folder
from tests.server import certificates

pytestmark = pytest.mark.server
_COMPONENT = plain_folder.CHECKOUT / "deploy" / "components" / "tls" / "deployment.yaml"


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    """The mounted Secret, and the files of a foreign caller."""
    folder = certificates.make(tmp_path_factory.mktemp("tls"))
    for made, mounted in (("server.pem", "tls.crt"), ("server.key", "tls.key"), ("ca.pem", "ca.crt")):
        shutil.copyfile(folder / made, folder / mounted)
    return folder


@pytest.fixture(scope="module")
def probe(secret, tmp_path_factory, tritonserver, repository):
    """Run the component's probe; the server is up when it first succeeds."""
    image = plain_folder.build(tmp_path_factory.mktemp("image"), repository)
    text = _COMPONENT.read_text(encoding="utf-8").replace("/tls/", f"{secret}/")
    arguments = re.findall(r"^ +- (check|--alive|--timeout=\S+|--tls\S+)$", text, re.M)
    assert arguments[:2] == ["check", "--alive"]
    port = free_port()

    def run():
        command = [plain_folder.CLIENT, *arguments, f"--url=localhost:{port}"]
        return subprocess.run(
            command, cwd=image.root, env=image.environment, capture_output=True, timeout=20
        ).returncode

    flags = manifests.flags("overlays/cpu/deployment.yaml")
    flags += re.findall(r"value: (--\S+)", text)
    log = tmp_path_factory.mktemp("log") / "server.log"
    with plain_folder.running(image, port, log, instead=flags, ready=lambda: run() == 0):
        yield run, port


def test_the_probe_passes(probe):
    assert probe[0]() == 0


@pytest.mark.parametrize("files", [None, ("ca.pem", None, None), ("ca.pem", "stranger.key", "stranger.pem")])
def test_callers_without_our_certificate_are_rejected(probe, secret, files):
    tls = Tls(*(name and secret / name for name in files)) if files else None
    with PoseClient(f"localhost:{probe[1]}", tls=tls, timeout_s=3, retry=None) as client:
        with pytest.raises(ServerUnavailable):
            client.estimate(b"")


def test_callers_with_our_certificate_pass(probe, secret):
    tls = Tls(secret / "ca.pem", secret / "client.key", secret / "client.pem")
    with PoseClient(f"localhost:{probe[1]}", tls=tls, timeout_s=30) as client:
        assert client.is_ready()
