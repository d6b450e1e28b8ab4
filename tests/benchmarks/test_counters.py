from types import SimpleNamespace as Message

import pytest

from benchmarks.closed_loop import Load
from benchmarks.counters import Counters, Executions, _counters, since
from benchmarks.stages import FRONT, NETWORK, Observed, remainder_ms, shared, summary


def duration(count, milliseconds):
    return Message(count=count, ns=round(milliseconds * 1e6))


def statistics(requests, batches):
    """Batches are (size, executions, infer ms of all, copy ms of all)."""
    return Message(
        inference_stats=Message(success=duration(requests, 0), queue=duration(requests, 5 * requests)),
        batch_stats=[
            Message(
                batch_size=size,
                compute_infer=duration(count, infer),
                compute_input=duration(count, copy),
                compute_output=duration(count, 0),
            )
            for size, count, infer, copy in batches
        ],
    )


def test_counters_of_a_load_are_a_difference():
    before, after = statistics(4, [(1, 4, 40, 4)]), statistics(10, [(1, 4, 40, 4), (3, 2, 60, 6)])
    counted = since({"net": _counters(before)}, {"net": _counters(after), "idle": Counters()})
    assert counted == {"net": Counters(6, 30.0, 60.0, 6.0, {3: Executions(2, 66.0)})}
    assert counted["net"].rows_per_execution == 3
    assert counted["net"].ms_per_execution == 33


def test_rows_per_execution_weigh_every_execution():
    assert Counters(executions={1: Executions(3, 1), 8: Executions(1, 1)}).rows_per_execution == 11 / 4


def test_networks_without_processes_get_the_time_of_their_threads():
    used = {FRONT: 10.0, "decode_image": 2.0}
    assert shared(used, 8.0, {"detector": 1000.0, "net": 3000.0, "unused": 0.0}) == {
        **{FRONT: 2.0, "decode_image": 2.0},
        **{"detector": 2.0, "net": 6.0},
    }
    assert shared(used, 0.3, {}) == used, "the stand-in has processes"


def test_stages_account_for_all_processor_time():
    load = Load(10.0, 3.0, [0.1, 0.1])
    counted = {"net": Counters(2, 4.0, 120.0, 2.0, {3: Executions(2, 122.0)}), "decode_image": Counters(2, 0.0, 6.0)}
    found = summary(
        Observed(load, counted, {"net": 0.11, "decode_image": 0.006, FRONT: 0.01, "accept": 0.0}, 0.02), "net"
    )
    assert found["stages"].keys() == {NETWORK, "decode", "front end and copies"}
    assert found["stages"][NETWORK]["compute_ms"] == 60
    assert found["stages"][NETWORK]["rows_per_execution"] == 3
    assert found["server_cpu_ms"] == pytest.approx((110 + 6 + 10) / 2)
    assert remainder_ms(found) == pytest.approx(100 - 60 - 2 - 3)
    assert found["people_per_picture"] == 3
