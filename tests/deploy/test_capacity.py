import json
from pathlib import Path

import numpy as np
import pytest

from deploy import capacity, capacity_check, stages

_DEPLOY = Path(__file__).parents[2] / "deploy"
GOOD = capacity_check.Point(25, 20, 0.5, 10, 10, 1)

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
    found = capacity_check.point(before, after, 4.0, 1.5)
    assert (found.arrivals_per_s, found.service_ms, found.load, found.queue_ms) == (25, 20, 0.5, 5)
    assert (found.formula_ms, found.late_ms) == (10, 1.5)
    assert found.error == 1


def misses(*points):
    return list(capacity_check.misses({"good": [GOOD] * 3, "net": points}))


def test_points_above_the_load_or_sent_late_prove_nothing():
    assert misses(GOOD, GOOD, GOOD, capacity_check.Point(25, 20, 0.9, 10, 99, 1)) == []
    assert misses(GOOD, GOOD, GOOD, capacity_check.Point(25, 20, 0.5, 10, 5, 1)) == [
        "net: at a load of 0.5 the formula is off by 50%"
    ]
    for useless in (capacity_check.Point(25, 20, 0.9, 10, 10, 1), capacity_check.Point(25, 20, 0.5, 10, 10, 4)):
        (too_few,) = misses(GOOD, GOOD, useless)
        assert too_few.startswith("net: 2 points") and "prove nothing" in too_few


@pytest.mark.parametrize("load", [0.2, 0.75])
def test_arrivals_are_such_that_chance_does_not_decide(load):
    arrivals = capacity_check.typical_arrivals(load, 20, 400)
    free_at, waits = 0.0, []
    for arrival in arrivals:
        waits.append(max(0.0, free_at - arrival))
        free_at = arrival + waits[-1] + 0.02
    assert np.mean(waits) * 1e3 == pytest.approx(capacity.waiting_ms(20, load), rel=0.05)
    assert np.diff(arrivals).std() == pytest.approx(np.diff(arrivals).mean(), rel=0.2), "exponential, not regular"


def test_the_recorded_check_misses_nothing_at_any_stage():
    recorded = json.loads((_DEPLOY / "results" / "capacity.json").read_text(encoding="utf-8"))
    found = {name: [capacity_check.Point(**seen) for seen in points] for name, points in recorded["stages"].items()}
    assert len(found) == 5
    assert list(capacity_check.misses(found)) == []


@pytest.mark.server
def test_every_stage_is_measured_at_every_load(repository, tritonserver, tmp_path):
    """Not how well: a handful of arrivals on a busy machine tells nothing of that."""
    output = tmp_path / "capacity.json"
    capacity_check.main([f"--repository={repository}", "--arrivals=20", f"--output={output}"])
    measured = json.loads(output.read_text(encoding="utf-8"))
    models = {path.parent.name for path in repository.glob("*/config.pbtxt") if not path.parent.name.startswith("pose")}
    assert set(measured["stages"]) == models - set(stages.LEFT_OUT)
    for points in measured["stages"].values():
        assert [point["arrivals_per_s"] > 0 and point["service_ms"] > 0 for point in points] == [True] * 4


def test_a_stage_by_itself_has_one_instance_and_merges_nothing(repository, tmp_path):
    configs = stages.simplify(repository, tmp_path / "models")
    assert {group.count for config in configs.values() for group in config.instance_group} == {1}
    assert not any(config.HasField("dynamic_batching") for config in configs.values())
    with pytest.raises(ValueError, match="it has 2"):
        stages.requests({**configs, "another": configs["spots"]})
