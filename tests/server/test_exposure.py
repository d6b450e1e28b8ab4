"""The closed parts of the API reject callers from the network, and accept the watchdog's key."""

import socket
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from server import access
from server.__main__ import main
from server.process import ServerTls
from tests.pictures import encode, picture_with_persons
from tests.server import certificates

pytestmark = pytest.mark.server

CLOSED = {
    "index": lambda client, **key: client.get_model_repository_index(**key),
    "load": lambda client, **key: client.load_model("accept_boxes", **key),
    "unload": lambda client, **key: client.unload_model("accept_boxes", **key),
    "statistics": lambda client, **key: client.get_inference_statistics(**key),
    "trace settings": lambda client, **key: client.get_trace_settings(**key),
    "trace change": lambda client, **key: client.update_trace_settings(settings={"trace_level": ["OFF"]}, **key),
    "log settings": lambda client, **key: client.get_log_settings(**key),
    "log change": lambda client, **key: client.update_log_settings({"log_info": True}, **key),
    "shared memory": lambda client, **key: client.get_system_shared_memory_status(**key),
    "register": lambda client, **key: client.register_system_shared_memory("mine", "/mine", 16, **key),
    "unregister": lambda client, **key: client.unregister_system_shared_memory(**key),
    "cuda memory": lambda client, **key: client.get_cuda_shared_memory_status(**key),
    "cuda register": lambda client, **key: client.register_cuda_shared_memory("mine", b"eHh4", 0, 16, **key),
}


@pytest.mark.parametrize("call", CLOSED)
@pytest.mark.parametrize("headers", [None, access.headers("guessed"), access.headers("")])
def test_the_administrative_api_is_closed(server, call, headers):
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        with pytest.raises(InferenceServerException, match="This protocol is restricted"):
            CLOSED[call](client, headers=headers)


def test_the_administrative_api_is_open_to_the_watchdog(server):
    assert set(server.control.states().values()) == {"READY"}
    assert "pose" in server.control.executions()


def test_health_metadata_and_config_are_open(server):
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        assert client.is_server_ready()
        assert client.is_model_ready("pose")
        assert client.get_model_metadata("pose").name == "pose"
        assert client.get_model_config("pose").config.parameters["keypoint_set"].string_value == "coco"


@pytest.mark.parametrize(
    "path",
    [
        "repository/index",
        "repository/models/pose/load",
        "repository/models/pose/unload",
        "systemsharedmemory/status",
        "cudasharedmemory/status",
        "models/pose/stats",
        "trace/setting",
        "logging",
    ],
)
def test_the_administrative_api_is_closed_over_http(server, path):
    method = "POST" if path.startswith("repository") else "GET"
    request = urllib.request.Request(f"http://127.0.0.1:{server.options.http_port}/v2/{path}", method=method)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=10)


def test_by_default_only_grpc_listens_on_loopback(serve, repository):
    with serve(repository) as running:
        assert listening(running.process.pid) == {("127.0.0.1", running.options.grpc_port)}


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("pem"))


@pytest.fixture(scope="module", params=[False, True], ids=["tls", "mutual"])
def tls_server(request, serve, repository, pem):
    tls = ServerTls(pem / "server.pem", pem / "server.key", pem / "ca.pem" if request.param else None)
    with serve(repository, tls=tls) as running:
        yield running


def people(server, **tls):
    """Return the number of people in the answer, or the status of the error."""
    image = tritonclient.grpc.InferInput("image", [1], "BYTES")
    image.set_data_from_numpy(np.array([encode(picture_with_persons([(9, 9)]))], dtype=object))
    url = f"localhost:{server.options.grpc_port}"
    with tritonclient.grpc.InferenceServerClient(url, ssl=bool(tls), **tls) as client:
        try:
            return client.infer("pose", [image], client_timeout=10).as_numpy("persons_detected").tolist()
        except InferenceServerException as error:
            return error.status()


def test_tls_admits_trusted_callers_only(tls_server, pem):
    def files(name):
        return {"private_key": str(pem / f"{name}.key"), "certificate_chain": str(pem / f"{name}.pem")}

    root, mutual = {"root_certificates": str(pem / "ca.pem")}, bool(tls_server.options.tls.client_ca)
    refused = "StatusCode.UNAVAILABLE"
    assert people(tls_server, **root, **files("client")) == [1]
    assert people(tls_server, **root) == (refused if mutual else [1])
    assert people(tls_server, **root, **files("stranger")) == (refused if mutual else [1])
    assert people(tls_server, root_certificates=str(pem / "stranger.pem")) == refused  # trusts another authority
    assert people(tls_server) == refused  # uses no TLS


def test_the_watchdog_passes_tls(tls_server):
    assert set(tls_server.control.states().values()) == {"READY"}


def test_missing_certificates_are_named(tmp_path, repository, capsys):
    files = ["--tls-cert", str(tmp_path / "no.pem"), "--tls-key", str(tmp_path / "no.key")]
    assert main(["--repository", str(repository), *files]) == 1
    assert "no.pem cannot be read" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--repository", str(repository), *files[:2]])
    assert "belong together" in capsys.readouterr().err


def listening(pid):
    """Return the (address, port) pairs on which a process listens, from /proc; mapped IPv4 addresses as IPv4."""
    sockets = {path.readlink().name for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
    tables = (Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6"))
    lines = [line.split() for table in tables for line in table.splitlines()]
    listeners = [line[1].split(":") for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets]
    return {(socket.inet_ntoa(bytes.fromhex(address[-8:])[::-1]), int(port, 16)) for address, port in listeners}
