"""Thousands of sockets, idle, slow or never read, leave the gateway able to answer."""

import contextlib
import json
import re
import socket
import subprocess
import sys
import time

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from gateway import serve
from gateway.settings import Settings
from tests.gateway.conftest import running, until
from tests.gateway.test_stream import stream

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
PICTURE = b"POST /v1/poses HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n3"
FILES = 460  # of the process: its own, 8 requests and streams, 256 spare connections, and those about to be closed


@contextlib.contextmanager
def process(fake, *options):
    """Start `python -m gateway` with few files, and yield its address."""
    command = [sys.executable, "-m", "gateway", "--url", fake.url, "--port", "0", "--rate", "0", *options]
    limited = ["sh", "-c", f'ulimit -n {FILES} && exec "$@"', "sh", *command]
    with subprocess.Popen(limited, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as gateway:
        try:
            first = gateway.stdout.readline()
            yield re.search(r"(https?)://localhost:(\d+)", first).groups()
        finally:
            gateway.terminate()
            rest = gateway.stdout.read()
    assert rest == "", "nothing is logged"


@contextlib.contextmanager
def sockets(port, count, sent=b""):
    """Open connections and send each the same bytes."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)) for _ in range(count)]
        for caller in opened:
            with contextlib.suppress(OSError):
                caller.sendall(sent)
        yield opened


def is_closed(caller, wait_s=0.01):
    """Read what was answered, and return whether the connection has an end."""
    caller.settimeout(wait_s)
    try:
        while caller.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        pass
    return True


SENT = {
    "nothing": b"",
    "half a head": b"POST /v1/poses HTTP/1.1\r\nHost: a\r\n",
    "half a head after a request": REQUEST + b"GET / HTTP/1.1\r\n",
    "a malformed stream": b"POST /v1/stream HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "half a body that is refused": b"POST /v1/poses HTTP/1.1\r\nHost: a\r\nContent-Length: 900000000\r\n\r\n3",
}


def test_a_gateway_answers_beyond_its_limit_of_connections(fake):
    """A real process, allowed fewer files than it is sent connections."""
    with process(fake, "--max-requests", "4", "--max-streams", "4") as (_, port):
        for sent in SENT.values():
            with sockets(int(port), 700, sent) as opened:
                started = time.monotonic()
                for path in ("healthz", "readyz", "metrics", "v1/models"):
                    assert httpx.get(f"http://127.0.0.1:{port}/{path}", timeout=30).status_code == 200
                assert time.monotonic() - started < 25, "idle connections end after 30 s"
                closed = [is_closed(caller) for caller in opened]
                assert sum(closed) >= 700 - 264
                if not sent:
                    assert all(closed[:400]) and not any(closed[-200:]), "the oldest ones are closed"


def test_connections_with_a_request_are_kept(fake):
    fake.delay_s = 4
    with process(fake, "--max-requests", "4", "--max-streams", "4") as (_, port):
        url = f"http://127.0.0.1:{port}"
        with (
            sockets(int(port), 2, PICTURE) as asked,
            stream(httpx.Client(base_url=url)) as film,
            sockets(int(port), 700),
        ):
            film.send(b"2")
            with pytest.raises(InvalidStatus, match="403"), stream(httpx.Client(base_url=url), origin="http://[a"):
                pass
            assert all(caller.recv(12) == b"HTTP/1.1 200" for caller in asked)
            assert len(json.loads(film.recv(timeout=20))["people"]) == 2
            assert httpx.get(f"{url}/healthz").status_code == 200


def test_tls_handshakes_are_limited(fake, tmp_path):
    """Callers of HTTPS that never begin their handshake."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    options = ("--max-requests", "4", "--max-streams", "4", "--cert", str(certificate), "--cert-key", str(key))
    with process(fake, *options) as (scheme, port), sockets(int(port), 700) as opened:
        assert httpx.get(f"{scheme}://localhost:{port}/healthz", verify=False, timeout=10).status_code == 200
        assert all(map(is_closed, opened[:400]))


def test_a_connection_is_refused_when_every_one_has_a_request(gateway, fake):
    client = gateway(max_requests=2, max_streams=0, spare_connections=0)
    client.get("/v1/models")
    client.close()
    fake.delay_s = 2
    with sockets(client.base_url.port, 2, PICTURE) as asked:
        until(lambda: len(fake.requests) == 2)
        with sockets(client.base_url.port, 1, REQUEST) as (refused,):
            assert is_closed(refused, 1)
        assert all(caller.recv(12) == b"HTTP/1.1 200" for caller in asked)
    with sockets(client.base_url.port, 1, REQUEST) as (accepted,):
        assert accepted.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
def test_connections_without_a_request_end(gateway, monkeypatch, sent):
    monkeypatch.setattr(serve, "_IDLE_S", 0.5)
    with sockets(gateway().base_url.port, 1, sent) as (caller,):
        for _ in range(10):  # a byte now and then gains no time
            with contextlib.suppress(OSError):
                caller.sendall(b"a")
            time.sleep(0.1)
        assert is_closed(caller, 1)


def test_a_caller_that_reads_no_answer_loses_its_connection(fake, monkeypatch, tmp_path):
    monkeypatch.setattr(serve, "_IDLE_S", 1)
    (tmp_path / "large.png").write_bytes(bytes(30_000_000))
    with running(Settings(url=fake.url, samples=tmp_path)) as client:
        caller = socket.create_connection(("127.0.0.1", client.base_url.port))
        caller.sendall(b"GET /samples/large.png HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(5)
        with contextlib.closing(caller), pytest.raises(ConnectionResetError):
            while caller.recv(1 << 20):
                pass
