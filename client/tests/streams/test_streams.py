"""The streams of both clients over gRPC."""

import asyncio
import re
import threading
from fractions import Fraction

import grpc
import numpy as np
import pytest
from cigpose_client import AsyncPoseClient, PoseClient, PoseClientError, RequestRejected, ServerUnavailable


def kinds(server):
    return ["boxes" if "from_boxes" in request.model else "detector" for request in server.requests]


def test_a_stream_asks_for_boxes_between_detections(server, client):
    stream = client.stream(detect_every=3, options={"bbox_threshold": 0.4})
    answers = [stream.update(b"2", index / 25) for index in range(7)]
    assert kinds(server) == ["detector", "boxes", "boxes", "detector", "boxes", "boxes", "detector"]
    assert all(poses.track_ids.tolist() == [1, 2] for poses in answers)
    assert server.requests[0].parameters == {"bbox_threshold": "0.4"}
    assert client.estimate(b"2").track_ids is client.estimate(b"2")[0].track_id is None


def test_the_asynchronous_stream_answers_the_same(server, client):
    async def main():
        async with AsyncPoseClient(server.url) as other:
            stream = other.stream(detect_every=3)
            return [await stream.update(b"2", index / 25) for index in range(7)]

    stream = client.stream(detect_every=3)
    for poses, other in zip([stream.update(b"2", index / 25) for index in range(7)], asyncio.run(main()), strict=True):
        np.testing.assert_array_equal(poses.keypoints, other.keypoints)
        np.testing.assert_array_equal(poses.track_ids, other.track_ids)


def test_frames_stay_in_the_order_of_the_calls(server):
    """Also when a picture takes longer to read than the next one."""
    frames = [np.zeros((2000, 3000, 3), np.uint8), *[np.zeros((48, 64, 3), np.uint8)] * 9]

    async def main():
        async with AsyncPoseClient(server.url, array_format="jpeg") as other:
            stream = other.stream()
            return await asyncio.gather(*(stream.update(frame, index / 25) for index, frame in enumerate(frames)))

    assert all(poses.track_ids.tolist() == [1, 2] for poses in asyncio.run(main()))


def test_a_closed_client_says_so(server):
    with PoseClient(server.url) as client:
        stream = client.stream()
    with pytest.raises(ServerUnavailable, match="the client was closed"):
        stream.update(b"2", 0.0)

    async def main():
        async with AsyncPoseClient(server.url) as other:
            stream = other.stream()
        await stream.update(b"2", 0.0)

    with pytest.raises(ServerUnavailable, match="the client was closed"):
        asyncio.run(main())


def test_both_clients_compare_appearance(server, client, monkeypatch):
    asked = []

    def frame_pixels(state, options, image, picture):
        asked.append((state.frame, options.appearance, image, picture))

    monkeypatch.setattr("cigpose_client.streams.stream.frame_pixels", frame_pixels)
    frames = [b"1", bytearray(b"2")]
    client_stream = client.stream(appearance=False)
    for index, frame in enumerate(frames):
        client_stream.update(frame, float(index))

    async def main():
        async with AsyncPoseClient(server.url) as other:
            stream = other.stream()
            for index, frame in enumerate(frames):
                await stream.update(frame, float(index))

    asyncio.run(main())
    expected = [(0, b"1", b"1"), (1, b"2", b"2")]
    assert asked == [(frame, use, *rest) for use in (False, True) for frame, *rest in expected]


def test_more_people_than_a_request_holds(server, client):
    stream = client.stream(detect_every=10)
    for index in range(3):
        assert len(stream.update(b"40", index / 25)) == 40
    assert [0 if request.boxes is None else len(request.boxes) for request in server.requests] == [0, 32, 8, 32, 8]


def test_a_refused_frame_is_raised_and_the_stream_goes_on(server, client):
    stream = client.stream()
    assert stream.update(b"1", 0.0).track_ids.tolist() == [1]
    server.failures = [(grpc.StatusCode.INVALID_ARGUMENT, "no")]
    with pytest.raises(RequestRejected):
        stream.update(b"1", 0.04)
    for time_s in (float("nan"), None, "0.2", [1.0], 10**400):
        with pytest.raises(ValueError, match=re.escape(f"time_s is {time_s!r}; give the frame's time in seconds")):
            stream.update(b"1", time_s)
    assert stream.update(b"1", 0.08).track_ids.tolist() == [1]


def test_times_may_be_numbers_of_every_kind(server, client):
    """PyAV's are fractions."""
    stream = client.stream(detect_every=3)
    times = (0, Fraction(1, 25), np.float32(0.08), np.float64(0.12), Fraction(4, 25), 1, np.int64(2), 2**70, 2**70)
    assert [stream.update(b"1", time_s).track_ids.tolist() for time_s in times] == [[1]] * 7 + [[2]] * 2


def test_calls_that_wait_for_each_other_lose_no_time(server, client):
    """Eight calls take 2.4 s together; each has 2 s."""
    server.delay_s = 0.3

    async def main():
        async with AsyncPoseClient(server.url, timeout_s=2) as other:
            stream = other.stream()
            return await asyncio.gather(*(stream.update(b"1", index / 25) for index in range(8)))

    assert len(asyncio.run(main())) == 8
    stream, seen = client.stream(), []
    threads = [threading.Thread(target=lambda: seen.append(stream.update(b"1", 1.0, timeout_s=2))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8


def test_a_cancelled_frame_changes_nothing(server):
    async def main():
        async with AsyncPoseClient(server.url) as client:
            stream = client.stream()
            await stream.update(b"1", 0.0)
            server.delay_s = 1.0
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(stream.update(b"3", 0.04), 0.1)
            server.delay_s = 0.0
            return await stream.update(b"2", 0.08)

    assert asyncio.run(main()).track_ids.tolist() == [1, 2]


def test_streams_of_one_client_share_no_ids(server, client):
    one, other = client.stream(), client.stream()
    assert one.update(b"3", 0.0).track_ids.tolist() == [1, 2, 3]
    assert other.update(b"2", 9.0).track_ids.tolist() == [1, 2]


def test_reset_forgets_people_and_uses_no_id_again(server, client):
    stream = client.stream()
    stream.update(b"2", 0.0)
    stream.reset()
    assert stream.update(b"2", 0.04).track_ids.tolist() == [3, 4]


def test_threads_may_share_a_stream(server, client):
    stream, seen = client.stream(), []
    threads = [threading.Thread(target=lambda: seen.append(stream.update(b"2", 1.0))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [poses.track_ids.tolist() for poses in seen] == [[1, 2]] * 8
    assert server.most_at_once == 1


def test_a_bottom_up_network_is_asked_without_boxes(server):
    server.bottom_up = ("pose_body",)
    with PoseClient(server.url, model="body") as client:
        stream = client.stream(detect_every=10)
        for index in range(4):
            stream.update(b"2", index / 25)
    assert kinds(server) == ["detector"] * 4


def test_a_lifter_streams(server):
    with PoseClient(server.url, model="pose_3d") as client:
        stream = client.stream(detect_every=2)
        for index in range(2):
            poses = stream.update(b"2", index / 25)
    assert poses.keypoints_3d.shape == (2, 17, 3)
    assert server.requests[-1].model == "pose_3d_from_boxes"


def test_one_limit_holds_for_all_requests_of_a_frame(server, client):
    stream = client.stream(detect_every=10)
    stream.update(b"1", 0.0)
    server.delay_s = 0.2
    with pytest.raises(PoseClientError):
        stream.update(b"1", 0.04, timeout_s=0.1)
