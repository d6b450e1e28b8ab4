import base64
import json
import socket
import threading

import grpc
import pytest
from cigpose_client import PoseClient
from cigpose_client.__main__ import main as cigpose_client

from client.tests.fake_server import OVERLOADED, STOPPING, FakeServer, start
from gateway.settings import Settings
from tests.gateway.conftest import problem, running, until

PICTURE = b"3"  # the fake server finds three people in it
JPEG = {"content-type": "image/jpeg"}


def test_the_answer_is_the_record_of_the_command(gateway, fake, tmp_path):
    (tmp_path / "a.jpg").write_bytes(PICTURE)
    people = tmp_path / "people.json"
    assert cigpose_client(["image", str(tmp_path / "a.jpg"), "--url", fake.url, "--json", str(people)]) == 0
    (record,) = json.loads(people.read_text())
    record.pop("picture")
    answer = gateway().post("/v1/poses", content=PICTURE, headers=JPEG)
    assert (answer.status_code, answer.json()) == (200, record)
    assert len(record["people"]) == 3


FORMS = {
    "raw": {"content": PICTURE, "headers": JPEG},
    "raw without a type": {"content": PICTURE},
    "curl --data-binary": {"content": PICTURE, "headers": {"content-type": "application/x-www-form-urlencoded"}},
    "form": {"files": {"image": ("a.jpg", PICTURE)}},
    "json": {"json": {"image": base64.b64encode(PICTURE).decode()}},
    "data url": {"json": {"image": "data:image/jpeg;base64," + base64.b64encode(PICTURE).decode(), "boxes": None}},
}


def test_every_form_of_body_sends_the_same_picture(gateway, fake):
    client = gateway()
    answers = {name: client.post("/v1/poses", **form) for name, form in FORMS.items()}
    assert {answer.status_code for answer in answers.values()} == {200}
    assert {request.picture for request in fake.requests} == {PICTURE}
    assert len({answer.text for answer in answers.values()}) == 1


BOXES = [[0, 0, 50, 100], [10.5, 20, 60, 120]]


@pytest.mark.parametrize(
    "form",
    [
        {"json": {"image": base64.b64encode(PICTURE).decode(), "boxes": BOXES}},
        {"files": {"image": ("a.jpg", PICTURE)}, "data": {"boxes": json.dumps(BOXES)}},
    ],
    ids=["json", "form"],
)
def test_given_boxes_are_sent(gateway, fake, form):
    answer = gateway().post("/v1/poses", **form)
    with PoseClient(fake.url) as client:
        assert answer.json() == client.estimate_boxes(PICTURE, BOXES).to_dict()
    assert [person["bbox"] for person in answer.json()["people"]] == BOXES


def test_options_and_the_deadline_are_passed_on(gateway, fake):
    query = {"model": "a", "bbox_threshold": 0.25, "nms_threshold": 0.6, "max_persons": 4, "timeout_s": 7}
    assert gateway().post("/v1/poses", params=query, content=PICTURE).status_code == 200
    (request,) = fake.requests
    assert request.model == "pose_a"
    assert request.parameters == {"bbox_threshold": "0.25", "nms_threshold": "0.6", "max_persons": "4"}
    assert 3e6 < request.queue_us <= 3.5e6  # half of the deadline, as the client shares it out


def test_the_gateways_timeout_is_the_longest_deadline(gateway, fake):
    assert gateway(timeout_s=4).post("/v1/poses?timeout_s=1000", content=PICTURE).status_code == 200
    assert fake.requests[0].queue_us <= 2e6


def test_names_and_edges_are_answered_on_request(gateway, fake):
    fake.networks = "a,3d"
    answer = gateway().post("/v1/poses?describe=true&model=pose_3d", content=PICTURE).json()
    assert answer["keypoint_names"][0] == "nose" and answer["keypoint_names_3d"][0] == "root"
    assert len(answer["keypoint_names"]) == len(answer["people"][0]["keypoints"])
    assert [0, 1] in answer["edges_3d"] and [5, 6] in answer["edges"]
    assert len(answer["people"][0]["keypoints_3d"][0]) == 3


def test_server_timing_names_the_stages(gateway, fake):
    fake.delay_s = 0.2
    header = gateway().post("/v1/poses", content=PICTURE).headers["server-timing"]
    spans = {part.split(";dur=")[0]: float(part.split(";dur=")[1]) for part in header.split(", ")}
    assert spans.keys() == {"read", "server", "write"}
    assert spans["server"] >= 200 > spans["read"]


FORM_TYPE = {"content-type": "multipart/form-data; boundary=x"}


def form_text(*parts):
    text = "".join(f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts)
    return {"content": text + "--x--\r\n", "headers": FORM_TYPE}


ENCODED = base64.b64encode(PICTURE).decode()
MALFORMED = {
    "json is broken": ({"content": "{", "headers": {"content-type": "application/json"}}, 400, "must be valid JSON"),
    "json is deep": (
        {"content": "[" * 10**4, "headers": {"content-type": "application/json"}},
        400,
        "must be valid JSON",
    ),
    "json is a list": ({"json": []}, 400, "must be a JSON object"),
    "json has no image": ({"json": {"boxes": BOXES}}, 400, "must be a JSON object"),
    "json has another field": ({"json": {"image": ENCODED, "box": 1}}, 400, "unknown field 'box'"),
    "base64 is broken": ({"json": {"image": "?"}}, 400, "not valid base64"),
    "base64 is not ASCII": ({"json": {"image": "ä"}}, 400, "not valid base64"),
    "boxes are no list": ({"json": {"image": ENCODED, "boxes": 5}}, 400, "boxes must be a list"),
    "a box has three numbers": ({"json": {"image": ENCODED, "boxes": [[1, 2, 3]]}}, 400, "boxes[0]"),
    "a box holds a text": ({"json": {"image": ENCODED, "boxes": [[1, 2, 3, "4"]]}}, 400, "boxes[0]"),
    "a box is huge": ({"json": {"image": ENCODED, "boxes": [[1, 2, 3, 10**400]]}}, 422, "boxes[0]"),
    "a box is beyond float32": (
        {"json": {"image": ENCODED, "boxes": [[1, 2, 3, -1e300]]}},
        422,
        "boxes[0] has a number",
    ),
    "many boxes": ({"json": {"image": ENCODED, "boxes": [[0, 0, 1, 1]] * 257}}, 422, "257 are more than"),
    "form has no file": (form_text(("boxes", "[]")), 400, "no file called image"),
    "form has a text for a file": (form_text(("image", "x" * 20_000)), 400, "image must be a file"),
    "form has only an encoded file name": (
        form_text(("image\"; filename*=\"UTF-8''a.jpg", "x" * 20_000)),
        400,
        "image must be a file",
    ),
    "form has boxes twice": (form_text(("boxes", "[]"), ("boxes", "[]")), 400, "more than one field boxes"),
    "form has two files": (
        {"files": [("image", ("a.jpg", PICTURE)), ("image", ("b.jpg", PICTURE))]},
        400,
        "more than one field image",
    ),
    "form has boxes in a file": (
        {"files": {"image": ("a.jpg", PICTURE), "boxes": ("boxes.json", b"[]")}},
        400,
        "boxes must be a text field",
    ),
    "form has another field": (form_text(("a", "x")), 400, "unknown field 'a'"),
    "form is cut": (
        {"content": form_text(("boxes", "[]"))["content"][:-4], "headers": FORM_TYPE},
        400,
        "last boundary is missing",
    ),
    "form has no boundary": ({"content": "--x", "headers": {"content-type": "multipart/form-data"}}, 400, "form"),
    "another type": ({"content": "x", "headers": {"content-type": "text/html"}}, 415, "'text/html' is not accepted"),
    "another parameter": ({"content": PICTURE, "params": {"treshold": 1}}, 400, "unknown query parameter 'treshold'"),
    "no number": ({"content": PICTURE, "params": {"bbox_threshold": "x"}}, 400, "bbox_threshold is 'x'"),
    "negative deadline": ({"content": PICTURE, "params": {"timeout_s": -1}}, 400, "timeout_s is '-1'"),
    "unknown model": ({"content": PICTURE, "params": {"model": "none"}}, 404, "known: pose, pose_a, pose_body"),
    "threshold beside boxes": (
        {"json": {"image": ENCODED, "boxes": BOXES}, "params": {"bbox_threshold": 0.1}},
        422,
        "bbox_threshold does not apply",
    ),
    "boxes for a bottom-up network": (
        {"json": {"image": ENCODED, "boxes": BOXES}, "params": {"model": "body"}},
        422,
        "without boxes",
    ),
    "too large": ({"content": bytes(5000)}, 413, "5000 bytes are over the limit of 4000"),
    "too large without a length": ({"content": iter([bytes(3000)] * 2)}, 413, "6000 bytes are over the limit of 4000"),
    "too large in a form": ({"files": {"image": ("a", bytes(5000))}}, 413, "5000 bytes are over the limit of 4000"),
    "too large for a form": ({"files": {"image": ("a", bytes(50_000))}}, 413, "bytes are over the limit of 4000"),
    "too large for JSON": ({"json": {"image": "A" * 50_000}}, 413, "bytes are over the limit of 4000"),
    "too large in base64": ({"json": {"image": "AAAA" * 2000}}, 413, "6000 bytes are over the limit of 4000"),
}


def test_malformed_requests_are_refused_in_words(gateway, fake):
    client = gateway(max_bytes=4000)
    for name, (form, status, text) in MALFORMED.items():
        answer = client.post("/v1/poses", **form)
        assert (answer.status_code, text in problem(answer)) == (status, True), (name, answer.text)
    assert fake.requests == []


REFUSALS = {
    "in ensemble 'pose', image: 5 bytes that begin with b'xx' are no JPEG, PNG, WebP or BMP": 415,
    "in ensemble 'pose', image: 32000001 bytes are over the limit of 32000000; compress it more": 413,
    "in ensemble 'pose', image: 9000 x 9000 pixels are over the limit of 50000000; scale it down": 413,
    "in ensemble 'pose', image: this JPEG is damaged or truncated and cannot be decoded": 422,
    "in ensemble 'pose', request parameter bbox_threshold is 2; it must be a number from 0.0 to 1.0": 422,
}


def test_the_contracts_texts_are_the_detail(gateway, fake):
    client = gateway()
    for text, status in REFUSALS.items():
        fake.failures.append((grpc.StatusCode.INVALID_ARGUMENT, text))
        answer = client.post("/v1/poses", content=PICTURE)
        assert (answer.status_code, problem(answer)) == (status, text)


FAILURES = [
    (OVERLOADED, 503, "1"),
    ((grpc.StatusCode.UNAVAILABLE, "Socket closed"), 503, "5"),
    (STOPPING, 503, "5"),
    ((grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"), 504, None),
    ((grpc.StatusCode.INTERNAL, "internal error"), 502, None),
    ((grpc.StatusCode.UNAVAILABLE, "This protocol is restricted, expecting header 'admin-key'"), 502, None),
    ((grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'pose' is not found"), 404, None),
]


@pytest.mark.parametrize(("failure", "status", "pause"), FAILURES)
def test_failures_of_the_server_have_their_status(gateway, fake, failure, status, pause):
    client = gateway()
    fake.failures.append(failure)
    answer = client.post("/v1/poses", content=PICTURE)
    assert problem(answer)
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, pause)
    assert len(fake.requests) == 1, "the caller decides about retries"


def test_a_late_answer_is_504(gateway, fake):
    fake.delay_s = 3
    answer = gateway().post("/v1/poses?timeout_s=0.2", content=PICTURE)
    assert (answer.status_code, "raise timeout_s" in problem(answer)) == (504, True)


def test_a_gateway_without_a_server_starts_and_answers_503(gateway, fake):
    fake.url = "127.0.0.1:1"
    client = gateway()
    assert client.get("/healthz").status_code == 200
    for answer in (client.get("/readyz"), client.get("/v1/models"), client.post("/v1/poses", content=PICTURE)):
        assert (answer.status_code, problem(answer) != "") == (503, True)


class Watched(FakeServer):
    """Sets `ended` when a call ends, on either side."""

    def ModelInfer(self, message, context):
        context.add_callback(self.ended.set)
        return super().ModelInfer(message, context)


def test_a_caller_that_hangs_up_cancels_its_request():
    fake = Watched(delay_s=5)
    fake.ended = threading.Event()
    handle = start(fake)
    with running(Settings(url=fake.url)) as client:
        with socket.create_connection((client.base_url.host, client.base_url.port)) as caller:
            caller.sendall(b"POST /v1/poses HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n3")
            until(lambda: fake.requests)
            assert not fake.ended.is_set()
        assert fake.ended.wait(4)
        until(lambda: 'requests_total{route="/v1/poses",status="499"} 1.0' in client.get("/metrics").text)
    handle.stop(None).wait()


def test_a_body_that_stops_arriving_is_refused(gateway, fake):
    client = gateway(upload_s=0.3)
    with socket.create_connection((client.base_url.host, client.base_url.port)) as caller:
        caller.sendall(b"POST /v1/poses HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n3")
        assert b" 408 " in caller.recv(1000)
