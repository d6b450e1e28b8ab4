import asyncio
import contextlib
import json
import os
import socket
import threading
import time

import grpc
import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from client.tests.fake_server import OVERLOADED, FakeServer, start
from gateway.settings import Settings
from tests.gateway.conftest import problem, running, until
from tests.pictures import encode, picture_with_persons

pytest.importorskip("scipy", reason="streams need scipy")


@contextlib.contextmanager
def stream(client, query="", **options):
    url = f"ws://{client.base_url.host}:{client.base_url.port}/v1/stream?{query}"
    with connect(url, compression=None, **options) as film:
        yield film


@contextlib.contextmanager
def raw_stream(client):
    """Open a stream, and yield its socket."""
    fields = "Host: a", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as caller:
        caller.sendall("\r\n".join(["GET /v1/stream HTTP/1.1", *fields, key, "", ""]).encode())
        assert caller.recv(1000).startswith(b"HTTP/1.1 101")
        yield caller


def ask(film, picture=b"2", time_s=None):
    if time_s is not None:
        film.send(json.dumps({"time_s": time_s}))
    film.send(picture)
    return json.loads(film.recv(timeout=20))


def test_people_keep_their_ids(gateway):
    with stream(gateway()) as film:
        answers = [ask(film, b"3", time_s) for time_s in (0.0, 0.04, 0.08)]
    assert [answer["frame"] for answer in answers] == [0, 1, 2]
    assert [answer["time_s"] for answer in answers] == [0.0, 0.04, 0.08]
    ids = [[person["track_id"] for person in answer["people"]] for answer in answers]
    assert len({*ids[0]}) == 3 and ids[0] == ids[1] == ids[2]
    assert answers[0]["server_ms"] > 0 and answers[0]["keypoint_set"] == "coco_wholebody"


def test_the_detector_runs_in_every_nth_frame(gateway, fake):
    client = gateway()
    with stream(client, "detect_every=3&model=a&bbox_threshold=0.2") as film:
        for frame in range(4):
            ask(film, b"1", 0.04 * frame)
    assert [request.model for request in fake.requests] == ["pose_a", *["pose_from_boxes_a"] * 2, "pose_a"]
    assert fake.requests[0].parameters == {"bbox_threshold": "0.2"}
    assert "cigpose_gateway_frames_detected_total 2.0" in client.get("/metrics").text


def test_one_frame_is_in_flight_and_the_newest_wins(gateway, fake):
    fake.delay_s = over = threading.Event()
    client = gateway()
    with stream(client) as film:
        film.send(b"0")
        until(lambda: fake.requests)
        for number in range(1, 10):
            film.send(str(number).encode())
        until(lambda: 'frames_total{outcome="replaced"} 8.0' in client.get("/metrics").text)
        over.set()
        answers = [json.loads(film.recv(timeout=20)) for _ in range(2)]
    assert [answer["frame"] for answer in answers] == [0, 9]
    assert [request.picture for request in fake.requests] == [b"0", b"9"]
    assert fake.most_at_once == 1
    page = client.get("/metrics").text
    assert 'frames_total{outcome="answered"} 2.0' in page and 'frames_total{outcome="replaced"} 8.0' in page


def test_a_refused_frame_is_reported_and_the_stream_goes_on(gateway, fake):
    with stream(gateway()) as film:
        first = ask(film, b"1", 0.0)
        fake.failures.append((grpc.StatusCode.INVALID_ARGUMENT, "image: this JPEG is damaged"))
        refused = ask(film, b"1", 0.04)
        again = ask(film, b"1", 0.08)
    assert (refused["status"], refused["detail"], refused["frame"]) == (422, "image: this JPEG is damaged", 1)
    assert again["people"][0]["track_id"] == first["people"][0]["track_id"]


def test_an_overloaded_server_delays_a_frame_and_loses_none(gateway, fake):
    fake.failures += [OVERLOADED] * 3
    with stream(gateway()) as film:
        assert len(ask(film, b"2")["people"]) == 2
    assert len(fake.requests) == 4


def test_wrong_queries_are_refused_in_words(gateway):
    client = gateway()
    for query, status, text in (
        ("detect_every=0", 400, "detect_every is '0'"),
        ("max_lost_s=inf", 400, "max_lost_s is 'inf'"),
        ("detect=1", 400, "unknown query parameter 'detect'; /docs and docs/gateway.md list"),
        ("model=none", 404, "known: pose"),
    ):
        with stream(client, query) as film:
            refusal = json.loads(film.recv(timeout=20))
            assert refusal["status"] == status and text in refusal["detail"]
            with pytest.raises(ConnectionClosed) as closed:
                film.recv(timeout=20)
        assert closed.value.rcvd.code == 1008


def test_texts_that_state_no_time_are_ignored(gateway):
    huge = f'{{"time_s": 1{"0" * 400}}}'  # more than a float holds
    with stream(gateway()) as film:
        for text in (huge, "", "[", "[1]", '{"time_s": "x"}', '{"time_s": 1e999}', '{"time_s": NaN}', "[" * 10**5):
            film.send(text)
        answer = ask(film)
    assert answer["frame"] == 0 and answer["people"]


def test_a_frame_over_the_limit_closes_the_stream(gateway):
    with stream(gateway(max_frame_bytes=1000)) as film:
        film.send(bytes(2000))
        with pytest.raises(ConnectionClosed) as closed:
            film.recv(timeout=20)
    assert closed.value.rcvd.code == 1009


def test_frames_and_bodies_share_one_budget(gateway, fake):
    client = gateway(max_body_bytes=5000)
    with stream(client) as film:
        ask(film)
        fake.delay_s, before = threading.Event(), len(fake.requests)
        film.send(bytes(2000))
        until(lambda: len(fake.requests) > before)
        film.send(bytes(2500))
        assert client.get("/v1/models").status_code == 200  # time for the frame to arrive
        refused = client.post("/v1/poses", content=bytes(1000))
        assert (refused.status_code, "too many pictures" in problem(refused)) == (503, True)
        film.send(bytes(2999))  # in place of the one that waits
        film.send(bytes(3001))
        over = json.loads(film.recv(timeout=20))
        assert (over["frame"], over["status"]) == (4, 503) and "too many pictures" in over["detail"]
        fake.delay_s.set()
        assert [json.loads(film.recv(timeout=20))["frame"] for _ in range(2)] == [1, 3]
        fake.delay_s = 0
        assert client.post("/v1/poses", content=bytes(5000)).status_code == 200, "answered frames are held no longer"
        film.send(bytes(4000))
    until(lambda: "cigpose_gateway_streams_in_progress 0.0" in client.get("/metrics").text)
    assert client.post("/v1/poses", content=bytes(5000)).status_code == 200


def test_frames_that_an_overloaded_server_delays_are_held_once(gateway, fake):
    client = gateway(max_body_bytes=5000)
    with stream(client) as film:
        for _ in range(3):
            fake.failures += [OVERLOADED] * 3
            ask(film, bytes(4000))
        fake.failures.append(OVERLOADED)
        fake.delay_s, before = threading.Event(), len(fake.requests)
        film.send(bytes(2000))
        until(lambda: len(fake.requests) > before)
        film.send(bytes(2000))
        assert client.get("/v1/models").status_code == 200  # time for the frame to arrive
        fake.delay_s.set()
        assert json.loads(film.recv(timeout=20))["frame"] == 4, "it takes the place of the one that was delayed"
        assert client.post("/v1/poses", content=bytes(5000)).status_code == 200


@pytest.mark.parametrize("fragments", [1, 3])
def test_incomplete_frames_belong_to_the_budget(gateway, fragments):
    """Bytes of a frame that has no end yet, in one piece or in fragments."""
    client = gateway(max_body_bytes=1_500_000, max_frame_bytes=2_000_000)
    with raw_stream(client) as first, raw_stream(client) as second:
        for caller in (first, second):
            with contextlib.suppress(ConnectionError):  # the second one is closed while it sends
                for index in range(fragments):
                    size = 1_000_000 // fragments
                    caller.sendall(bytes([0 if index else 2, 127 | 128]) + size.to_bytes(8, "big") + bytes(4))
                    caller.sendall(bytes(size - (fragments == 1)))
            time.sleep(0.5)
        closed = second.recv(1000)
        assert (closed[0], int.from_bytes(closed[2:4], "big")) == (0x88, 1013) and b"too many pictures" in closed
        assert "too many pictures" in problem(client.post("/v1/poses", content=bytes(600_000)))
    until(lambda: client.post("/v1/poses", content=bytes(1_400_000)).status_code == 200)


def test_fragments_of_a_frame_are_limited(gateway):
    with raw_stream(gateway()) as caller:
        caller.sendall((b"\x02\x80" + bytes(4)) + (b"\x00\x80" + bytes(4)) * 1100)  # all of them empty
        closed = caller.recv(1000)
    assert (closed[0], int.from_bytes(closed[2:4], "big")) == (0x88, 1009)


@pytest.mark.parametrize(
    "message", [b"\x81\x82" + bytes(4) + b"\xff\xfe", b"\x01\x81" + bytes(4) + b"{\x80\x81" + bytes(4) + b"\xff"]
)
def test_text_that_is_not_utf8_ends_the_stream_without_a_traceback(gateway, caplog, message):
    with raw_stream(gateway()) as caller:
        caller.sendall(message)
        closed = caller.recv(1000)
    assert (closed[0], int.from_bytes(closed[2:4], "big")) == (0x88, 1007)
    assert not [record for record in caplog.records if record.exc_info]


def test_streams_are_guarded(gateway):
    client = gateway(token="secret", max_streams=1)
    with pytest.raises(InvalidStatus) as refused, stream(client):
        pass
    assert refused.value.response.status_code == 401
    with stream(client, subprotocols=["cigpose", "bearer.secret"]) as film:
        assert film.subprotocol == "cigpose"
        with pytest.raises(InvalidStatus) as refused, stream(client, subprotocols=["bearer.secret"]):
            pass
        assert refused.value.response.status_code == 503
        assert json.loads(refused.value.response.body)["detail"]
    with (
        pytest.raises(InvalidStatus) as refused,
        stream(client, "", origin="http://evil.example", subprotocols=["bearer.secret"]),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_a_stream_that_is_closed_cancels_its_request():
    class Watched(FakeServer):
        def ModelInfer(self, message, context):
            context.add_callback(ended.set)
            return super().ModelInfer(message, context)

    ended, fake = threading.Event(), Watched(delay_s=5)
    handle = start(fake)
    with running(Settings(url=fake.url)) as client:
        with stream(client) as film:
            film.send(b"1")
            until(lambda: fake.requests)
        assert ended.wait(4)
        until(lambda: "cigpose_gateway_streams_in_progress 0.0" in client.get("/metrics").text)
    handle.stop(None).wait()


def memory_mb():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


async def _film(url, pictures, frames, offset):
    """Send frames one by one, and return the number and the people of each answer: all of it would take memory."""
    answers = []
    async with connect_async(url, compression=None) as film:
        for number in range(frames):
            await film.send(json.dumps({"time_s": number / 25}))
            await film.send(pictures[(number + offset) % len(pictures)])
            answer = json.loads(await asyncio.wait_for(film.recv(), 120))
            answers.append((answer["frame"], answer["persons_detected"]))
    return answers


async def _films(url, pictures, streams, frames):
    return await asyncio.gather(*(_film(url, pictures, frames, index) for index in range(streams)))


@pytest.mark.server
@pytest.mark.parametrize(
    ("streams", "frames"), [(40, 3), pytest.param(200, int(os.environ.get("FRAMES", "20")), marks=pytest.mark.slow)]
)
def test_many_streams_lose_nothing_and_memory_stays_flat(server, streams, frames):
    """Each frame of each stream has its answer, in order and with the right number of people."""
    pictures = [encode(picture_with_persons([(6 + 9 * i, 20) for i in range(n)], seed=n)) for n in range(4)]
    with running(Settings(url=server.grpc_url)) as client:
        url = f"ws://{client.base_url.host}:{client.base_url.port}/v1/stream"
        asyncio.run(_films(url, pictures, streams, 2))
        before = memory_mb()
        answers = asyncio.run(_films(url, pictures, streams, frames))
        grown_mb = memory_mb() - before
    for index, film in enumerate(answers):
        assert film == [(number, (number + index) % 4) for number in range(frames)]
    assert grown_mb < 60
