import asyncio
import inspect
import time

import numpy as np
import pytest
from cigpose_client import AsyncPoseClient, DeadlineExceeded, Overloaded, PoseClient, PoseClientError, RequestRejected

from client.tests.fake_server import OVERLOADED


def run(server, use, **settings):
    async def main():
        async with AsyncPoseClient(server.url, timeout_s=5.0, **settings) as client:
            return await use(client)

    return asyncio.run(main())


def public(kind):
    return {name: member for name, member in vars(kind).items() if not name.startswith("_")}


def test_methods_and_arguments_match_the_synchronous_client():
    ours, theirs = public(AsyncPoseClient), public(PoseClient)
    assert set(ours) == set(theirs)
    for name, member in ours.items():
        assert list(inspect.signature(member).parameters) == list(inspect.signature(theirs[name]).parameters)


def test_answers_match_the_synchronous_client(server, client):
    async def use(other):
        return await other.estimate(b"3"), await other.detect(b"2"), await other.estimate_boxes(b"x", [[0, 0, 9, 9]])

    server.set_name = "another_with_133"
    poses, detections, given = run(server, use)
    assert poses.keypoint_set is given.keypoint_set is None
    np.testing.assert_array_equal(poses.keypoints, client.estimate(b"3").keypoints)
    assert (len(detections), len(given)) == (2, 1)


def test_boxes_are_split_and_stitched(server):
    boxes = np.arange(4 * 70, dtype=np.float32).reshape(70, 4)
    poses = run(server, lambda client: client.estimate_boxes(b"x", boxes))
    np.testing.assert_array_equal(poses.bboxes, boxes)
    assert len(server.requests) == 3


def test_retries_follow_the_same_rules(server):
    server.failures = [OVERLOADED] * 2

    async def use(client):
        await client.estimate(b"1")
        return client.retries

    assert run(server, use) == 2


def test_settings_match_the_synchronous_client(server):
    server.failures, reasons = [OVERLOADED] * 2, []

    async def use(client):
        await client.estimate(b"1", {"bbox_threshold": 0.4})
        return AsyncPoseClient().url

    assert run(server, use, on_retry=reasons.append) == PoseClient().url
    assert server.requests[-1].parameters == {"bbox_threshold": "0.4"}
    assert [type(reason) for reason in reasons] == [Overloaded] * 2


@pytest.mark.parametrize(
    ("picture", "timeout_s", "kind"), [(b"no picture", 10.0, RequestRejected), (b"1", 0.1, DeadlineExceeded)]
)
def test_errors_are_the_same(server, picture, timeout_s, kind):
    server.delay_s = lambda picture: 10.0 if picture == b"1" else 0.0
    with pytest.raises(kind):
        run(server, lambda client: client.estimate(picture, timeout_s=timeout_s))


def test_is_ready(server):
    assert run(server, lambda client: client.is_ready())
    assert not run(server, lambda client: client.is_ready(), model="nope")


def test_many_images_are_answered_concurrently_and_in_order(server):
    server.delay_s = lambda picture: 0.1 if picture == b"0" else 0.01

    async def use(client):
        images = (str(count).encode() for count in range(12))
        return [len(poses) async for poses in client.estimate_many(images, in_flight=4)]

    assert run(server, use) == list(range(12))
    assert 2 <= server.most_at_once <= 4


def test_images_may_come_asynchronously(server):
    async def images():
        for count in range(3):
            await asyncio.sleep(0)
            yield str(count).encode()

    async def use(client):
        return [len(poses) async for poses in client.estimate_many(images())]

    assert run(server, use) == [0, 1, 2]


def test_failures_are_values_on_request(server):
    async def use(client):
        return [outcome async for outcome in client.attempt_many([b"1", b"no picture", "nowhere.jpg", b"2"])]

    outcomes = run(server, use)
    assert [len(outcomes[0]), len(outcomes[3])] == [1, 2]
    assert isinstance(outcomes[1], PoseClientError)
    assert isinstance(outcomes[2], FileNotFoundError)


def test_a_cancelled_call_returns_immediately(server):
    server.delay_s = 10.0

    async def use(client):
        start_s = time.monotonic()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.estimate(b"1"), 0.1)
        return time.monotonic() - start_s

    assert run(server, use) < 5


def test_cancelling_many_leaves_nothing_running(server):
    server.delay_s = 0.2

    async def use(client):
        stream = client.estimate_many([b"1"] * 20, in_flight=2)
        await anext(stream)
        await stream.aclose()
        return len(asyncio.all_tasks())

    assert run(server, use) == 1
    assert len(server.requests) <= 6
