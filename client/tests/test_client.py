import threading
import time

import numpy as np
import pytest
from cigpose_client import AsyncPoseClient, DeadlineExceeded, Options, Overloaded, PoseClient, RequestRejected, Tls
from cigpose_client.__main__ import main
from cigpose_client._connection import DEFAULT_URL
from grpc import StatusCode

from client.tests.fake_server import OVERLOADED, FakeServer, start


def test_estimate_returns_the_arrays_of_the_contract(client, server):
    poses = client.estimate(b"3")
    assert len(poses) == 3
    assert poses.bboxes.shape == (3, 4)
    assert poses.bbox_scores.shape == (3,)
    assert poses.keypoints.shape == (3, 133, 2)
    assert poses.keypoint_scores.shape == (3, 133)
    assert poses.persons_detected == 3
    assert poses.keypoint_set.name == "coco_wholebody"
    assert poses.keypoint_names[0] == "nose"
    assert server.requests[0].picture == b"3"


@pytest.mark.parametrize(("name", "found"), [("coco", "coco"), ("", "coco"), ("another_with_17", None)])
def test_the_server_names_the_keypoint_set(server, name, found):
    """A set with as many keypoints as COCO's is not taken for COCO's."""
    server.set_name = name
    with PoseClient(server.url, model="body") as client:
        poses = [client.estimate(b"1"), client.estimate_boxes(b"1", np.ones((40, 4))), client.estimate(b"1")[:1]]
    for answer in poses:
        assert (answer.keypoint_set.name if answer.keypoint_set else None) == found
        assert (answer[0].keypoint_names[:1] == ("nose",)) == (found == "coco")
        assert answer.keypoint_names == answer[0].keypoint_names


def test_the_keypoint_set_is_asked_for_once_and_not_for_boxes(client, server):
    client.detect(b"1")
    assert server.configs == []
    for _ in range(3):
        client.estimate(b"1")
    client.estimate_boxes(b"1", [[0, 0, 9, 9]])
    assert server.configs == ["pose"]


@pytest.mark.parametrize(
    ("failure", "asked"),
    [((StatusCode.PERMISSION_DENIED, "closed"), 1), ((StatusCode.UNAVAILABLE, "later"), 2)],
)
def test_without_a_configuration_the_number_of_keypoints_decides(server, failure, asked):
    """A server that does not show its configuration is not asked again, one that is busy is."""
    server.set_name, server.config_failures = "another_with_17", [failure]
    with PoseClient(server.url, model="body") as client:
        assert client.estimate(b"1").keypoint_set.name == "coco"
        client.estimate(b"1")
    assert server.configs == ["pose_body"] * asked


def test_an_empty_answer_is_float32(client):
    poses = client.estimate(b"0")
    assert len(poses) == 0
    assert poses.keypoints.shape == (0, 133, 2)
    assert {array.dtype for array in vars(poses).values() if isinstance(array, np.ndarray)} == {np.dtype(np.float32)}
    assert len(client.estimate_boxes(b"0", [])) == 0


def test_a_path_is_sent_as_it_is(client, server, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"1")
    client.estimate(tmp_path / "a.jpg")
    client.estimate(str(tmp_path / "a.jpg"))
    assert [request.picture for request in server.requests] == [b"1", b"1"]


def test_detect_asks_for_no_keypoints(client, server):
    assert len(client.detect(b"3")) == 3
    assert server.requests[0].outputs == ("bboxes", "bbox_scores", "persons_detected")


def test_half_of_the_timeout_is_the_queue_limit(client, server):
    client.estimate(b"1", timeout_s=3.0)
    assert 1_000_000 < server.requests[0].queue_us <= 1_500_000


def test_only_options_that_were_given_are_sent(server):
    with PoseClient(server.url, options=Options(max_persons=5)) as client:
        client.estimate(b"1")
        client.detect(b"1", Options(bbox_threshold=0.25, nms_threshold=0.5))
    assert server.requests[0].parameters == {"max_persons": "5"}
    assert server.requests[1].parameters == {"bbox_threshold": "0.25", "nms_threshold": "0.5"}


def test_options_may_be_a_mapping_everywhere(server):
    with PoseClient(server.url, options={"max_persons": 5}) as client:
        client.estimate(b"1")
        client.estimate(b"1", {"bbox_threshold": 0.4})
        client.detect(b"1", {"nms_threshold": np.float32(0.5)})
        client.estimate(b"1", {})
        list(client.estimate_many([b"1"], {"bbox_threshold": None, "max_persons": 3}))
        list(client.attempt_many([b"1"], {"max_persons": 2}))
    assert [request.parameters for request in server.requests] == [
        {"max_persons": "5"},
        {"bbox_threshold": "0.4"},
        {"nms_threshold": "0.5"},
        {},
        {"max_persons": "3"},
        {"max_persons": "2"},
    ]


KNOWN = "bbox_threshold, nms_threshold, max_persons"


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"treshold": 0.4}, ValueError, f"unknown option 'treshold'; known: {KNOWN}"),
        ({"max_persons": "many"}, TypeError, "option max_persons must be a number or None, not 'many'"),
        ({"max_persons": True}, TypeError, "option max_persons must be a number or None, not True"),
        (0.4, TypeError, f"options must be Options or a mapping of {KNOWN}, not 0.4"),
    ],
)
def test_wrong_options_are_refused_before_sending(client, server, options, kind, words):
    calls = (client.estimate, client.detect, lambda _, options: client.attempt_many([b"1"], options))
    for call in (*calls, lambda _, options: PoseClient(options=options)):
        with pytest.raises(kind, match=words):
            call(b"1", options)
    assert not server.requests


@pytest.mark.parametrize(
    ("model", "ensembles"),
    [
        ("pose", ("pose", "pose_from_boxes")),
        ("body", ("pose_body", "pose_from_boxes_body")),
        ("pose_body", ("pose_body", "pose_from_boxes_body")),
        ("pose_from_boxes_body", ("pose_from_boxes_body", "pose_from_boxes_body")),
    ],
)
def test_the_model_names_its_ensembles(server, model, ensembles):
    with PoseClient(server.url, model=model) as client:
        client.estimate(b"1")
        client.estimate_boxes(b"1", [[0, 0, 9, 9]])
    assert tuple(request.model for request in server.requests) == ensembles


def test_a_client_of_another_model_shares_the_connection(client, server):
    server.set_name = "coco"
    assert len(client.estimate(b"1").keypoint_names) == 0  # 133 points are not COCO's 17
    other = client.with_model("body")
    assert other.estimate(b"1").keypoint_set.name == "coco"
    assert other._transport is client._transport
    assert (client.model, other.model) == ("pose", "body")
    assert [request.model for request in server.requests] == ["pose", "pose_body"]


def test_headers_are_sent_in_lower_case(server):
    with PoseClient(server.url, headers={"Authorization": "Bearer x"}) as client:
        client.estimate(b"1")
    assert server.requests[0].metadata["authorization"] == "Bearer x"


def test_given_boxes_keep_their_order(client):
    boxes = np.arange(12, dtype=np.float64).reshape(3, 4)
    poses = client.estimate_boxes(b"x", boxes)
    np.testing.assert_array_equal(poses.bboxes, boxes)


def test_many_boxes_are_split_and_stitched_in_order(client, server):
    boxes = np.arange(4 * 70, dtype=np.float32).reshape(70, 4)
    server.delay_s = lambda _: 0.05 if len(server.requests) == 1 else 0.0  # the first part is answered last
    poses = client.estimate_boxes(b"x", boxes)
    assert sorted(len(request.boxes) for request in server.requests) == [6, 32, 32]
    np.testing.assert_array_equal(poses.bboxes, boxes)
    assert poses.keypoints.shape == (70, 133, 2)
    assert poses.persons_detected == 70


def test_the_server_rejects_too_many_boxes(server):
    with PoseClient(server.url, max_boxes=64) as client, pytest.raises(RequestRejected, match="at most 32 boxes"):
        client.estimate_boxes(b"x", np.zeros((40, 4)))


@pytest.mark.parametrize("boxes", [np.zeros((2, 5)), np.zeros(4)])
def test_boxes_of_another_shape_are_refused(client, boxes):
    with pytest.raises(ValueError, match=r"shape \(N, 4\), not"):
        client.estimate_boxes(b"x", boxes)


def test_threads_share_a_client(client):
    counts = [0] * 8

    def ask(count):
        counts[count] = len(client.estimate(str(count).encode()))

    threads = [threading.Thread(target=ask, args=(count,)) for count in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == list(range(8))


def test_retries_are_counted(client, server):
    server.failures = [OVERLOADED, OVERLOADED]
    assert len(client.estimate(b"1")) == 1
    assert client.retries == 2


def test_client_and_command_have_the_same_default_url(capsys):
    with PoseClient(model="body") as client:
        assert client.url == DEFAULT_URL == "localhost:8001"
    assert main(["info", "--help"]) == 0
    assert f"(default: {DEFAULT_URL})" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("kind", [PoseClient, AsyncPoseClient])
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://localhost:8000", "no http:// addresses; give host:port, such as localhost:8001"),
        ("grpc://localhost:8001", "no grpc:// addresses; give host:port"),
        ("tcp://localhost:8001", "no tcp:// addresses"),
        ("localhost", "Triton's gRPC port is 8001"),
        ("dns:///pose.example", "Triton's gRPC port is 8001"),
        ("ipv4:10.0.0.1:8001,10.0.0.2", "Triton's gRPC port is 8001"),
        ("::1", r"\[host\]:port for IPv6"),
        (":8001", "lacks a host"),
        ("localhost:65536", "'65536' is not a number from 1 to 65535"),
        ("localhost:0", "'0' is not a number from 1 to 65535"),
        ("localhost:8001/", "'8001/' is not a number"),
    ],
)
def test_addresses_that_grpc_would_misread_are_refused(kind, url, words):
    with pytest.raises(ValueError, match=words) as caught:
        kind(url)
    assert repr(url) in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8001",
        "[::1]:8001",
        "dns:///pose.example:8001",
        "dns://10.0.0.9/pose.example:8001",
        "ipv4:10.0.0.1:8001,10.0.0.2:8001",
        "ipv6:[::1]:8001",
        "unix:/run/pose.sock",
    ],
)
def test_grpc_targets_are_accepted(url):
    PoseClient(url).close()


def test_each_retry_is_reported_with_its_reason(server):
    reasons = []
    server.failures = [OVERLOADED, OVERLOADED]
    with PoseClient(server.url, on_retry=reasons.append) as client:
        client.estimate(b"1")
    assert [type(reason) for reason in reasons] == [Overloaded] * 2


def test_an_exception_from_on_retry_ends_the_call(server):
    def stop(error):
        raise error

    server.failures = [OVERLOADED] * 5
    with PoseClient(server.url, on_retry=stop) as client, pytest.raises(Overloaded):
        client.estimate(b"1")
    assert len(server.requests) == 1


def test_a_missing_tls_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        PoseClient("localhost:1", tls=Tls(root_certificates=tmp_path / "nowhere.pem"))


def test_is_ready_returns_false_instead_of_raising(server, client):
    assert client.is_ready()
    with PoseClient(server.url, model="nope") as other:
        assert not other.is_ready()
    with PoseClient("127.0.0.1:1", timeout_s=0.1) as nobody:
        assert not nobody.is_ready()


def test_servers_of_a_list_take_turns(server):
    second = FakeServer()
    handle = start(second)
    try:
        with PoseClient(f"ipv4:{server.url},{second.url}") as client:
            deadline_s = time.monotonic() + 5
            while not (server.requests and second.requests) and time.monotonic() < deadline_s:
                client.estimate(b"1")  # at the first calls, only one server may be connected
            server.requests.clear()
            second.requests.clear()
            for _ in range(10):
                client.estimate(b"1")
        assert len(server.requests) == len(second.requests) == 5
    finally:
        handle.stop(None).wait()


def test_all_runs_of_a_split_share_one_deadline(client, server):
    server.delay_s = 0.15
    with pytest.raises(DeadlineExceeded):  # a run takes 0.15 s
        client.estimate_boxes(b"x", np.zeros((32 * 12, 4)), timeout_s=0.25)  # 12 requests, 4 at a time
