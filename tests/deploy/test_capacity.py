import json

import pytest

from deploy import capacity, capacity_check

METRICS = """\
nv_inference_request_success{model="net",version="1"} 8
nv_inference_exec_count{model="net",version="1"} 2
nv_inference_compute_input_duration_us{model="net",version="1"} 800
nv_inference_compute_infer_duration_us{model="net",version="1"} 80000
nv_inference_compute_output_duration_us{model="net",version="1"} 3200
nv_inference_request_success{model="other",version="1"} 5
"""


def test_one_instance_is_pollaczek_and_khinchine():
    for load in (0.1, 0.5, 0.9):
        assert capacity.waiting_ms(20, load) == pytest.approx(load * 20 / (2 * (1 - load)))


def test_more_instances_wait_less_at_the_same_load():
    waits = [capacity.waiting_ms(20, 0.7, count) for count in (1, 2, 4, 8)]
    assert waits == sorted(waits, reverse=True)


@pytest.mark.parametrize("load", [-0.1, 1.0, 2.0])
def test_no_queue_settles_outside_the_capacity(load):
    with pytest.raises(ValueError, match="no mean waiting time"):
        capacity.waiting_ms(20, load)


def test_the_formula_is_near_what_was_measured_on_one_server():
    """Poisson arrivals at one instance of 20.6 ms; waiting times from the server's own counters."""
    for load, measured_ms in ((0.21, 2.9), (0.41, 8.2), (0.62, 15.1), (0.72, 32.8), (0.82, 50.7)):
        assert capacity.waiting_ms(20.6, load) == pytest.approx(measured_ms, rel=0.3)


def test_a_batchs_time_is_given_to_each_of_its_requests():
    stage = capacity.measure(METRICS, "net", 1, "here")
    assert stage == capacity.Stage("net", 10.5, 2, 1, "here")
    assert capacity.queue_threshold_ms(stage) == 13  # 10.5 * 0.7 / 0.6, rounded up


def test_counters_without_executions_are_refused():
    with pytest.raises(ValueError, match="no executions of 'nobody'"):
        capacity.measure(METRICS, "nobody", 1, "here")


def test_the_command_writes_what_the_checks_read(tmp_path):
    metrics, output = tmp_path / "metrics", tmp_path / "measured.json"
    metrics.write_text(METRICS)
    command = [f"--metrics={metrics.as_uri()}", "--model=net", "--machine=here", f"--output={output}"]
    assert capacity.main(command) == 0
    assert json.loads(output.read_text())["service_ms"] == 10.5
    assert capacity.read(output).instances == 1
    assert capacity.main([*command, "--model=nobody"]) == 1


def test_a_point_compares_the_formula_with_the_counters():
    before = {"requests": 10.0, "queue_us": 0.0, "compute_us": 0.0}
    after = {"requests": 110.0, "queue_us": 500_000.0, "compute_us": 2_000_000.0}
    found = capacity_check.point(before, after, 4.0)
    assert (found.arrivals_per_s, found.service_ms, found.load, found.queue_ms) == (25, 20, 0.5, 5)
    assert found.formula_ms == 10
    assert found.error == 1


def test_too_few_trusted_points_are_a_failure():
    good = capacity_check.Point(25, 20, 0.5, 10, 10)
    assert list(capacity_check.misses([good, good])) == []
    assert "off by 50%" in next(capacity_check.misses([good, good, capacity_check.Point(25, 20, 0.5, 10, 5)]))
    assert "prove nothing" in next(capacity_check.misses([good, capacity_check.Point(25, 20, 0.9, 10, 99)]))
