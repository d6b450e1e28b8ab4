import pytest
from cigpose_client import PoseClient

from client.tests.fake_server import FakeServer, start


@pytest.fixture
def server():
    fake = FakeServer()
    handle = start(fake)
    yield fake
    handle.stop(None).wait()


@pytest.fixture
def client(server):
    with PoseClient(server.url, timeout_s=5.0) as client:
        yield client
