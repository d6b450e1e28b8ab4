"""The edge proxy's configuration in front of real servers, with TLS and without."""

import shutil

import numpy as np
import pytest
import tritonclient.grpc
from cigpose_client import PoseClient, PoseClientError, Tls

from server.process import ServerTls
from tests.deploy import rollout, tools
from tests.deploy.dns import running_dns
from tests.server import certificates

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def edge(server, tmp_path_factory):
    if not tools.find("nginx"):
        pytest.skip("no nginx here; `python -m tests.deploy.tools` fetches it")
    folder = tmp_path_factory.mktemp("edge")
    with (
        running_dns(rollout.NAME, lambda: ["127.0.0.1"]) as dns,
        rollout.proxy(folder, dns, server.options.grpc_port) as url,
    ):
        yield url


def test_inference_passes(edge):
    with PoseClient(edge, timeout_s=30) as client:
        assert client.is_ready()
        assert client.estimate_boxes(np.zeros((40, 60, 3), np.uint8), [(0, 0, 30, 40)]).keypoints.shape == (1, 17, 2)


@pytest.mark.parametrize("call", ["is_server_ready", "is_server_live"])
def test_health_passes(edge, call):
    with tritonclient.grpc.InferenceServerClient(edge) as client:
        assert getattr(client, call)()


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get_model_repository_index(),
        lambda client: client.get_model_config("pose"),
        lambda client: client.get_inference_statistics("pose"),
        lambda client: client.get_system_shared_memory_status(),
        lambda client: client.load_model("pose"),
        lambda client: client.unload_model("pose"),
    ],
)
def test_other_calls_are_rejected(edge, call):
    with tritonclient.grpc.InferenceServerClient(edge) as client:
        with pytest.raises(tritonclient.grpc.InferenceServerException, match="not open to callers") as refused:
            call(client)
    assert "PERMISSION_DENIED" in str(refused.value.status())


def test_a_body_over_the_limit_is_rejected_and_the_next_call_served(edge):
    with PoseClient(edge, timeout_s=30, retry=None) as client:
        with pytest.raises(PoseClientError):
            client.estimate(b"\xff\xd8\xff" + bytes(40_000_000))
        assert client.is_ready()
        client.estimate_boxes(np.zeros((40, 60, 3), np.uint8), [(0, 0, 30, 40)])


def test_a_picture_near_the_servers_own_limit_passes(edge):
    picture = np.zeros((3000, 3400, 3), np.uint8)  # 30.6 MB as the client sends it
    with PoseClient(edge, timeout_s=60, retry=None) as client:
        assert client.estimate_boxes(picture, [(0, 0, 30, 40)]).keypoints.shape == (1, 17, 2)


def _secret(folder):
    """Make the files that the proxy mounts, and those of the server, a caller, and a foreign caller."""
    certificates.make(folder)
    for made, mounted in (("server.pem", "tls.crt"), ("server.key", "tls.key"), ("ca.pem", "ca.crt")):
        shutil.copyfile(folder / made, folder / mounted)
    return folder


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    if not tools.find("nginx"):
        pytest.skip("no nginx here; `python -m tests.deploy.tools` fetches it")
    return _secret(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def running_port(secret, serve, repository):
    """The port of a server with mutual TLS."""
    tls = ServerTls(secret / "server.pem", secret / "server.key", secret / "ca.pem")
    with serve(repository, profile="cpu", tls=tls) as running:
        yield running.options.grpc_port


@pytest.fixture(scope="module")
def encrypted(secret, running_port, tmp_path_factory):
    """The address of the proxy in front of that server."""
    with (
        running_dns(rollout.NAME, lambda: ["127.0.0.1"]) as dns,
        rollout.proxy(tmp_path_factory.mktemp("edge"), dns, running_port, tls=secret) as url,
    ):
        yield f"localhost:{url.rpartition(':')[2]}"


def test_inference_passes_through_tls_on_both_sides(encrypted, secret):
    tls = Tls(secret / "ca.pem", secret / "client.key", secret / "client.pem")
    with PoseClient(encrypted, tls=tls, timeout_s=30) as client:
        assert client.estimate_boxes(np.zeros((40, 60, 3), np.uint8), [(0, 0, 30, 40)]).keypoints.shape == (1, 17, 2)


@pytest.mark.parametrize("files", [None, ("ca.pem", None, None), ("ca.pem", "stranger.key", "stranger.pem")])
def test_callers_without_our_certificate_are_rejected(encrypted, secret, files):
    tls = Tls(*(name and secret / name for name in files)) if files else None
    with PoseClient(encrypted, tls=tls, timeout_s=3, retry=None) as client, pytest.raises(PoseClientError):
        client.estimate_boxes(np.zeros((40, 60, 3), np.uint8), [(0, 0, 30, 40)])


def test_servers_of_a_foreign_authority_get_no_call(encrypted, running_port, tmp_path, tmp_path_factory):
    other = _secret(tmp_path_factory.mktemp("other"))
    tls = Tls(other / "ca.pem", other / "client.key", other / "client.pem")
    with (
        running_dns(rollout.NAME, lambda: ["127.0.0.1"]) as dns,
        rollout.proxy(tmp_path, dns, running_port, tls=other) as url,
        PoseClient(f"localhost:{url.rpartition(':')[2]}", tls=tls, timeout_s=5, retry=None) as client,
        pytest.raises(PoseClientError, match="502"),
    ):
        client.estimate_boxes(np.zeros((40, 60, 3), np.uint8), [(0, 0, 30, 40)])
    assert "SSL" in (tmp_path / "nginx.log").read_text()
