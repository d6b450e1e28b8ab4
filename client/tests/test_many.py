import threading

import pytest
from cigpose_client import PoseClientError, RequestRejected
from cigpose_client._many import in_order

from client.tests.fake_server import OVERLOADED


def test_answers_keep_the_order_and_the_server_stays_busy(client, server):
    server.delay_s = lambda picture: 0.1 if picture == b"0" else 0.01
    images = (str(count).encode() for count in range(20))
    assert [len(poses) for poses in client.estimate_many(images, in_flight=4)] == list(range(20))
    assert 2 <= server.most_at_once <= 4


def test_images_are_read_a_bounded_number_ahead(client):
    read = 0

    def images():
        nonlocal read
        for _ in range(100):
            read += 1
            yield b"1"

    answers = client.estimate_many(images(), in_flight=2)
    next(answers)
    assert read <= 4
    answers.close()


def test_the_first_failure_ends_the_iteration_in_its_place(client):
    answers = client.estimate_many([b"1", b"no picture", b"2"])
    assert len(next(answers)) == 1
    with pytest.raises(RequestRejected):
        next(answers)


def test_failures_are_values_on_request(client):
    outcomes = list(client.attempt_many([b"1", b"no picture", "nowhere.jpg", b"2"]))
    assert [len(outcomes[0]), len(outcomes[3])] == [1, 2]
    assert isinstance(outcomes[1], PoseClientError)
    assert isinstance(outcomes[2], FileNotFoundError)


def test_overload_costs_time_but_no_answers(client, server):
    server.failures = [OVERLOADED] * 5
    assert [len(poses) for poses in client.estimate_many([b"2"] * 10, in_flight=4)] == [2] * 10
    assert client.retries == 5


def test_no_thread_remains_when_the_caller_stops(client):
    answers = client.estimate_many([b"1"] * 50, in_flight=3)
    next(answers)
    answers.close()
    del answers
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("cigpose-client")]


def test_no_images_give_no_answers(client):
    assert list(client.estimate_many([])) == []


def test_in_flight_below_one_is_refused(client):
    with pytest.raises(ValueError, match="at least 1, not 0"):
        list(client.estimate_many([b"1"], in_flight=0))


def test_results_keep_the_order_of_items():
    assert list(in_order(lambda x: x * x, range(5), 2)) == [0, 1, 4, 9, 16]
