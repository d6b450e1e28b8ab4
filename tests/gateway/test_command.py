"""`python -m gateway` without a server's address starts one, and takes it away at its end."""

import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("fastapi", reason="the gateway's packages are not installed; run `make install-gateway`")

from gateway.__main__ import main


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("--timeout nan", "nan is not from 0.001 to 3600"),
        ("--timeout 1e12", "is not from 0.001 to 3600"),
        ("--rate -5", "-5 is not from 0 to"),
        ("--max-requests 0", "0 is not from 1 to"),
        ("--max-bytes -1", "-1 is not from 1 to"),
        ("--port 99999", "'99999' is no port"),
        ("--tls", "give --url, or leave out --tls"),
        ("--cert README.md --cert-key README.md", "README.md and README.md are no certificate and its key"),
        ("--cert README.md", "--cert and --cert-key belong together"),
    ],
)
def test_wrong_usage(capsys, argv, words):
    with pytest.raises(SystemExit) as ended:
        main(argv.split())
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("--url localhost", "lacks a host or a port"),
        ("--url http://localhost:8001", "gRPC knows no http:// addresses"),
        ("--url localhost:8001 --tls-key README.md", "private_key and certificate_chain belong together"),
        ("--url localhost:8001 --token-file /dev/null", "/dev/null is empty; write the token into it"),
    ],
)
def test_a_gateway_that_could_not_work_does_not_start(capsys, argv, words):
    assert main([*argv.split(), "--port", "0"]) == 1
    assert words in capsys.readouterr().err


def test_a_token_file_is_text(tmp_path, capsys):
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    assert main(["--url", "localhost:8001", "--port", "0", "--token-file", str(tmp_path / "token")]) == 1
    assert f"{tmp_path / 'token'} is no text" in capsys.readouterr().err


@pytest.mark.server
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_leaves_no_files(tritonserver, tmp_path, number, status):
    command = [sys.executable, "-m", "gateway", "--port", "0"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as gateway:
        try:
            lines = iter(gateway.stdout.readline, "")
            assert any(line.startswith("the page is on ") for line in lines)
            assert [*tmp_path.glob("cigpose-*")]
            gateway.send_signal(number)
            assert gateway.wait(60) == status
        finally:
            gateway.kill()
    assert not [*tmp_path.glob("cigpose-*")]
