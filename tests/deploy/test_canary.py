import pytest
from cigpose_client import DeadlineExceeded, ModelNotReady, Overloaded, ServerFailed, ServerUnavailable

from deploy.canary import is_busy


@pytest.mark.parametrize(
    "error",
    [
        Overloaded("Exceeds maximum queue size", transient=True),
        DeadlineExceeded("no answer in time"),
        ServerUnavailable("no answer from localhost:8001: handshake timed out"),
    ],
)
def test_a_busy_server_is_alive(error):
    assert is_busy(error)


@pytest.mark.parametrize(
    "error",
    [
        ServerFailed("Stub process 'decode_image_0_0' is not healthy."),
        ModelNotReady("unknown model"),
        ServerUnavailable("no answer from localhost:8001: Connection refused"),
    ],
)
def test_a_broken_one_is_not(error):
    assert not is_busy(error)
