"""The gateway's image in a plain folder: its COPY lines, its ENTRYPOINT and the arguments of the component."""

import contextlib
import os
import re
import ssl
import subprocess
import sys

import httpx
import pytest

from client.tests.fake_server import FakeServer, start
from server.process import free_port
from tests.deploy import plain_folder

_DOCKERFILE = plain_folder.DOCKERFILE.with_name("Dockerfile.gateway")
_COMPONENT = plain_folder.CHECKOUT / "deploy" / "components" / "gateway" / "deployment.yaml"


@pytest.fixture(scope="module")
def fake():
    fake = FakeServer()
    handle = start(fake)
    yield fake
    handle.stop(None).wait()


@pytest.fixture
def started(fake, tmp_path):
    """Return a context manager: additional arguments -> a container's process and its port."""
    root = plain_folder.copied(_DOCKERFILE, tmp_path / "opt")
    (tmp_path / "token").write_text("secret\n")

    @contextlib.contextmanager
    def run(*arguments):
        port = free_port()
        given = re.findall(r"^ +- (--[\w-]+=\S+)", _COMPONENT.read_text(encoding="utf-8"), re.M)
        replaced = {"--host": "127.0.0.1", "--port": port, "--url": fake.url, "--token-file": tmp_path / "token"}
        assert replaced.keys() <= {flag.partition("=")[0] for flag in given}
        own = [f"{name}={value}" for name, value in replaced.items()]
        client = plain_folder.CHECKOUT / "client"  # the wheel's place in the image is the Python's own
        environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{client}", "PYTHONDONTWRITEBYTECODE": "1"}
        entry = plain_folder.instruction("ENTRYPOINT", _DOCKERFILE)[1:]
        command = [sys.executable, *entry, *given, *own, *arguments]
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            yield process.stdout.readline(), port
        finally:
            process.terminate()
            assert process.wait(30) in (0, -15, 143)
            process.stdout.close()

    return run


def test_the_gateways_image_answers_with_the_components_arguments(started):
    with started() as (line, port):
        assert f"http://0.0.0.0:{port}" in line or f"http://localhost:{port}" in line
        url = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{url}/healthz", timeout=20).status_code == 200
        assert "CIGPose" in httpx.get(url, timeout=20).text
        assert httpx.post(f"{url}/v1/poses", content=b"3", timeout=20).status_code == 401
        answer = httpx.post(f"{url}/v1/poses", content=b"3", headers={"authorization": "Bearer secret"}, timeout=20)
        assert len(answer.json()["people"]) == 3


def test_the_gateway_speaks_https(started, tmp_path):
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    with started(f"--cert={tmp_path / 'cert.pem'}", f"--cert-key={tmp_path / 'key.pem'}") as (line, port):
        assert "https://" in line
        trusted = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        assert httpx.get(f"https://localhost:{port}/healthz", verify=trusted, timeout=20).status_code == 200
