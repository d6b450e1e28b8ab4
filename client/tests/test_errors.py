import re
import socket
import time

import grpc
import pytest
from cigpose_client import (
    DeadlineExceeded,
    ModelNotReady,
    Overloaded,
    PoseClient,
    PoseClientError,
    RequestRejected,
    Retry,
    ServerFailed,
    ServerUnavailable,
)
from cigpose_client._errors import Failures, translate
from tritonclient.utils import InferenceServerException

from client.tests.fake_server import OVERLOADED, STOPPING, start

LAST = "connections to all backends failing; last error: {}"


@pytest.fixture
def once(server):
    """A client without retries."""
    with PoseClient(server.url, timeout_s=5.0, retry=None) as client:
        yield client


@pytest.mark.parametrize(
    ("failure", "kind", "transient"),
    [
        ((grpc.StatusCode.INVALID_ARGUMENT, "bbox_threshold 2 is not in 0..1"), RequestRejected, False),
        (OVERLOADED, Overloaded, True),
        ((grpc.StatusCode.UNAVAILABLE, "Socket closed"), ServerUnavailable, True),
        ((grpc.StatusCode.UNAVAILABLE, "Request timeout expired"), Overloaded, True),
        ((grpc.StatusCode.UNAVAILABLE, "Request for unknown model: 'x' is not found"), ModelNotReady, False),
        ((grpc.StatusCode.UNAVAILABLE, "Model 'pose' is not at ready state"), ModelNotReady, True),
        ((grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'x' is not found"), ModelNotReady, False),
        (STOPPING, ModelNotReady, True),
        ((grpc.StatusCode.INTERNAL, "internal error"), ServerFailed, False),
        ((grpc.StatusCode.UNKNOWN, ""), ServerFailed, False),
    ],
)
def test_every_failure_has_its_type(once, server, failure, kind, transient):
    server.failures = [failure]
    with pytest.raises(kind) as caught:
        once.estimate(b"1")
    error = caught.value
    assert type(error) is kind
    assert error.transient is transient
    assert error.status == failure[0].name
    assert failure[1] in str(error)
    assert isinstance(error.__cause__, InferenceServerException)


def test_node_names_of_a_network_stay_in_the_cause(once, server):
    text = "in ensemble 'pose', onnx runtime error 2: Non-zero status code returned while running Gather node."
    server.failures = [(grpc.StatusCode.INTERNAL, text)]
    with pytest.raises(ServerFailed) as caught:
        once.estimate(b"1")
    assert str(caught.value) == "internal error"
    assert caught.value.__cause__.message() == text


def test_all_errors_have_one_base():
    kinds = (DeadlineExceeded, ModelNotReady, Overloaded, RequestRejected, ServerFailed, ServerUnavailable)
    assert all(issubclass(kind, PoseClientError) for kind in kinds)


def test_an_error_without_status_or_message_is_still_an_error():
    assert isinstance(translate(InferenceServerException(None)), ServerFailed)


def test_a_refused_connection_names_the_address():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"127.0.0.1:{unused.getsockname()[1]}"
        with PoseClient(url, retry=None) as client, pytest.raises(ServerUnavailable, match=url):
            client.estimate(b"1")


def test_the_clients_own_limit_is_named(server):
    server.delay_s = 0.5
    with PoseClient(server.url, timeout_s=0.25) as client, pytest.raises(DeadlineExceeded, match=r"within 0\.25 s"):
        client.estimate(b"1")


def test_the_error_names_address_time_and_remedy():
    with PoseClient("127.0.0.1:1", timeout_s=0.5) as client, pytest.raises(ServerUnavailable) as caught:
        client.estimate(b"1")
    assert re.fullmatch(
        r"no answer from 127\.0\.0\.1:1: no server listens there \(connection refused\), tried for \d+\.\d+ s; "
        r"is the server running, and is url its gRPC address\?",
        str(caught.value),
    )
    assert caught.value.transient


def test_a_single_try_names_no_time():
    with PoseClient("127.0.0.1:1", retry=None) as client, pytest.raises(ServerUnavailable) as caught:
        client.estimate(b"1")
    assert "tried for" not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "problem", "remedy", "transient"),
    [
        (
            LAST.format("UNKNOWN: ipv4:1:2: Failed to connect to remote host: Connection refused"),
            "no server listens",
            "url",
            True,
        ),
        ("errors resolving x:1: [field:hostname ... Domain name not found]", "cannot be resolved", "host in url", True),
        ("DNS resolution failed for x:1: C-ares status is not ARES_SUCCESS", "cannot be resolved", "host in url", True),
        (LAST.format("UNKNOWN: ipv4:1:2: Tls handshake failed: WRONG_VERSION_NUMBER"), "not speak TLS", "tls", False),
        (LAST.format("UNKNOWN: ipv4:1:2: CERTIFICATE_VERIFY_FAILED"), "not trusted", "root_certificates", False),
        (LAST.format("UNAVAILABLE: ipv4:1:2: Socket closed"), "closes the connection", "tls=Tls()", True),
        (
            LAST.format("UNAVAILABLE: ipv4:1:2: Failed parsing HTTP/2 (Expected SETTINGS frame, got frame type 79)"),
            "does not speak gRPC",
            "gRPC port in url",
            False,
        ),
        ("recvmsg:Connection reset by peer", "Connection reset by peer", "is the server running", True),
    ],
)
def test_each_broken_connection_has_its_cause_and_remedy(message, problem, remedy, transient):
    error = translate(InferenceServerException(message, status="StatusCode.UNAVAILABLE"), "x:1")
    assert type(error) is ServerUnavailable
    assert problem in error.problem
    assert remedy in error.remedy
    assert str(error) == f"{error.problem}; {error.remedy}"
    assert error.problem.startswith("no answer from x:1: ")
    assert error.transient is transient


def test_a_refused_address_hides_no_other_failure():
    """`localhost` is 127.0.0.1 and ::1; the server listens on one, and gRPC reports one of them at a time."""
    failures = Failures()
    closes, refuses, gone = (
        InferenceServerException(LAST.format(text))
        for text in (
            "UNAVAILABLE: ipv4:127.0.0.1:8001: Socket closed",
            "UNKNOWN: ipv6:%5B::1%5D:8001: Failed to connect to remote host: Connection refused",
            "UNKNOWN: ipv4:127.0.0.1:8001: Failed to connect to remote host: Connection refused",
        )
    )
    assert failures.add(refuses) is refuses
    assert failures.add(closes) is closes
    assert failures.add(refuses) is closes
    assert failures.add(gone) is gone
    assert failures.add(refuses) is refuses


def test_the_deadline_ends_a_slow_call(once, server):
    server.delay_s = 10.0
    start_s = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=f"no answer from {server.url} within 0.1 s; raise timeout_s"):
        once.estimate(b"1", timeout_s=0.1)
    assert time.monotonic() - start_s < 5


def test_a_bad_request_is_never_sent_again(client, server):
    with pytest.raises(RequestRejected, match="neither JPEG"):
        client.estimate(b"no picture")
    assert len(server.requests) == 1


def test_unknown_models_are_not_retried(server):
    with PoseClient(server.url, model="nope") as client, pytest.raises(ModelNotReady, match="pose_nope"):
        client.estimate(b"1")
    assert len(server.requests) == 1


def test_retries_end_at_the_deadline_with_the_last_reason(client, server):
    server.failures = [OVERLOADED] * 100
    start_s = time.monotonic()
    with pytest.raises(Overloaded):
        client.estimate(b"1", timeout_s=2)
    assert time.monotonic() - start_s < 10
    assert 2 <= len(server.requests) <= 20


def test_a_stopping_server_is_retried(client, server):
    server.failures = [STOPPING, (grpc.StatusCode.UNAVAILABLE, "Server is stopping")]
    assert len(client.estimate(b"1")) == 1
    assert client.retries == 2


def test_a_server_that_comes_back_on_the_same_port_is_found(server):
    handle = start(server)
    with PoseClient(server.url, timeout_s=5.0, retry=Retry(0.05, 0.1)) as client:
        client.estimate(b"1")
        handle.stop(None).wait()
        with pytest.raises(ServerUnavailable):
            client.estimate(b"1", timeout_s=0.2)
        handle = start(server, server.url)
        try:
            assert len(client.estimate(b"1")) == 1
            assert client.retries > 0
        finally:
            handle.stop(None).wait()


def test_pauses_double_up_to_their_limit_and_jitter():
    retry = Retry(first_pause_s=0.1, longest_pause_s=1.0)
    assert [retry.pause_s(tries, 1.0) for tries in (1, 2, 3, 4, 5, 1000)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1, 1])
    assert retry.pause_s(1, 0.0) == pytest.approx(0.05)


def test_a_closed_client_sends_nothing_again():
    closed = translate(InferenceServerException("Channel closed!", status="StatusCode.CANCELLED"), "host:1")
    assert isinstance(closed, ServerUnavailable) and not closed.transient
    assert "the client was closed during the call" in str(closed)
