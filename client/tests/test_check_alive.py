"""`cigpose-client check --alive`, as a liveness probe runs it."""

import time

import grpc
import pytest
from cigpose_client import DeadlineExceeded, ModelNotReady, Overloaded, ServerFailed, ServerUnavailable
from cigpose_client.__main__ import main
from cigpose_client._cli.server import is_busy

from client.tests.fake_server import OVERLOADED

DEAD = (grpc.StatusCode.INTERNAL, "Stub process 'decode_image_0_0' is not healthy.")


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
def test_a_broken_server_is_not_alive(error):
    assert not is_busy(error)


def test_a_full_queue_passes_at_the_first_try(server, capsys):
    server.closed, server.failures = ("model-repository", "model-config"), [OVERLOADED]
    assert main(["check", "--alive", "--url", server.url]) == 0
    assert "busy    pose" in capsys.readouterr().out
    assert len(server.requests) == 1


def test_a_late_answer_passes_in_time(server, capsys):
    server.closed, server.delay_s = ("model-repository", "model-config"), 20.0
    started = time.monotonic()
    assert main(["check", "--alive", "--timeout", "2", "--url", server.url]) == 0
    assert time.monotonic() - started < 12
    assert "busy    pose" in capsys.readouterr().out


def test_a_dead_step_fails(server, capsys):
    server.failures = [DEAD]
    assert main(["check", "--alive", "--url", server.url]) == 1
    assert "FAILED  pose" in capsys.readouterr().out


def test_a_refused_connection_fails_fast():
    started = time.monotonic()
    assert main(["check", "--alive", "--url", "localhost:1"]) == 1
    assert time.monotonic() - started < 5


def test_without_the_option_busy_is_a_failure(server):
    server.closed, server.delay_s = ("model-repository", "model-config"), 3.0
    assert main(["check", "--timeout", "0.5", "--url", server.url]) == 1
