import contextlib
import socket
import threading
import time

import httpx
import pytest

from client.tests.fake_server import FakeServer, start
from gateway.serve import serve, server
from gateway.settings import Settings


@pytest.fixture
def fake():
    """A pose server that answers by rule; see `FakeServer`."""
    fake = FakeServer(networks="a,body", bottom_up=("pose_body",))
    handle = start(fake)
    yield fake
    handle.stop(None).wait()


@pytest.fixture
def gateway(fake):
    """Return a context manager that serves a gateway in front of `fake`, and yields a client of it."""
    with contextlib.ExitStack() as stack:

        def started(**settings):
            return stack.enter_context(running(Settings(url=fake.url, **settings)))

        yield started


@contextlib.contextmanager
def running(settings):
    """Serve a gateway in a thread, and yield an `httpx.Client` whose base address it is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app, port = server(settings), listener.getsockname()[1]
        thread = threading.Thread(target=serve, args=(app, listener))
        thread.start()
        try:
            until(lambda: app.started or not thread.is_alive())
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                yield client
        finally:
            app.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def until(condition, seconds=20):
    """Wait until `condition()` is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not become true"
        time.sleep(0.01)


def problem(response):
    """Return the problem of a response after checking its form."""
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body.keys() == {"type", "title", "status", "detail"}
    assert body["status"] == response.status_code
    return body["detail"]
