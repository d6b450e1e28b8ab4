"""Encrypted connections, with certificates made for the test."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest
from cigpose_client import PoseClient, ServerUnavailable, Tls
from cigpose_client.__main__ import main

from client.tests.fake_server import FakeServer, start

CLIENT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """A folder with ca, server and client certificates and keys."""
    folder = tmp_path_factory.mktemp("pem")
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subjects = {"ca": [], "server": ["-addext", "subjectAltName=IP:127.0.0.1"], "client": []}
    for name, more in subjects.items():
        signer = [] if name == "ca" else ["-CA", "ca.pem", "-CAkey", "ca.key"]
        files = ["-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        done = subprocess.run([*make, *files, *signer, *more], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"this openssl cannot make the certificates: {done.stderr.splitlines()[-1]}")
    return folder


@pytest.fixture(params=[False, True], ids=["tls", "mutual"])
def server(request, pem):
    read = lambda name: (pem / name).read_bytes()  # noqa: E731
    pair = [(read("server.key"), read("server.pem"))]
    credentials = grpc.ssl_server_credentials(pair, read("ca.pem") if request.param else None, request.param)
    fake = FakeServer()
    handle = start(fake, credentials=credentials)
    yield fake, request.param
    handle.stop(None).wait()


def test_the_client_trusts_and_shows_its_certificate(server, pem):
    fake, mutual = server
    mine = {"private_key": pem / "client.key", "certificate_chain": pem / "client.pem"} if mutual else {}
    with PoseClient(fake.url, tls=Tls(root_certificates=pem / "ca.pem", **mine), retry=None) as client:
        assert len(client.estimate(b"3")) == 3


def test_missing_certificates_are_server_unavailable(server, pem):
    fake, mutual = server
    tls = Tls(root_certificates=pem / "ca.pem") if mutual else Tls()
    with PoseClient(fake.url, tls=tls, retry=None, timeout_s=2) as client, pytest.raises(ServerUnavailable):
        client.estimate(b"3")


def test_an_untrusted_certificate_fails_fast(server, pem):
    start_s = time.monotonic()
    with PoseClient(server[0].url, tls=Tls()) as client, pytest.raises(ServerUnavailable, match="root_certificates"):
        client.estimate(b"3")
    assert time.monotonic() - start_s < 5


def test_a_plain_client_names_the_tls_options(server, capfd):
    assert main(["info", "--url", server[0].url, "--timeout", "2"]) == 1
    lines = [
        line for line in capfd.readouterr().err.splitlines() if "ssl_transport_security" not in line
    ]  # of the server
    assert lines[0].startswith("waiting: no answer from")
    assert "if it expects TLS, give --tls, for mutual TLS with --tls-key and --tls-cert" in lines[0]
    assert lines[-1] == "  if it expects TLS, give --tls, for mutual TLS with --tls-key and --tls-cert"


@pytest.mark.parametrize(("verbosity", "logs"), [(None, False), ("info", True)])
def test_tls_to_a_plain_server_fails_fast_in_two_lines(verbosity, logs):
    """In a process of its own, because gRPC reads its verbosity at import."""
    fake = FakeServer()
    handle = start(fake)
    env = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    env |= {"PYTHONPATH": str(CLIENT)} | ({} if verbosity is None else {"GRPC_VERBOSITY": verbosity})
    command = [sys.executable, "-m", "cigpose_client", "info", "--tls", "--url", fake.url]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=15)
    finally:
        handle.stop(None).wait()
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert lines[-2:] == [
        f"cigpose-client: no answer from {fake.url}: the server does not speak TLS",
        "  leave out --tls",
    ]
    assert (len(lines) > 2) is logs


def test_child_processes_inherit_no_grpc_setting(monkeypatch):
    monkeypatch.delenv("GRPC_VERBOSITY", raising=False)
    assert main(["info", "--url", "127.0.0.1:1", "--timeout", "0.1"]) == 1
    assert "GRPC_VERBOSITY" not in os.environ


def test_the_command_takes_the_files(server, pem, tmp_path, capsys):
    (tmp_path / "1.jpg").write_bytes(b"1")
    argv = ["image", tmp_path / "1.jpg", "--url", server[0].url, "--tls-ca", pem / "ca.pem"]
    argv += ["--tls-key", pem / "client.key", "--tls-cert", pem / "client.pem"]
    assert main([str(word) for word in argv]) == 0
