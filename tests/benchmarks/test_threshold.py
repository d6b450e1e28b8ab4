import json

import pytest

from benchmarks import threshold
from benchmarks.__main__ import main

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
        assert threshold.waiting_ms(20, load) == pytest.approx(load * 20 / (2 * (1 - load)))


def test_more_instances_wait_less_at_the_same_load():
    waits = [threshold.waiting_ms(20, 0.7, count) for count in (1, 2, 4, 8)]
    assert waits == sorted(waits, reverse=True)


@pytest.mark.parametrize("load", [-0.1, 1.0, 2.0])
def test_a_load_outside_the_capacity_is_an_error(load):
    with pytest.raises(ValueError, match="no mean waiting time"):
        threshold.waiting_ms(20, load)


def test_the_formula_is_near_the_waits_measured_on_one_server():
    """Poisson arrivals at one instance of 20.6 ms; waiting times from the server's own counters."""
    for load, measured_ms in ((0.21, 2.9), (0.41, 8.2), (0.62, 15.1), (0.72, 32.8), (0.82, 50.7)):
        assert threshold.waiting_ms(20.6, load) == pytest.approx(measured_ms, rel=0.3)


def test_service_time_is_the_mean_of_executions_not_requests():
    assert threshold.service(METRICS, "net") == (10.5, 2)


def test_counters_without_executions_are_refused():
    with pytest.raises(ValueError, match="no executions of 'nobody'"):
        threshold.service(METRICS, "nobody")


def test_the_command_writes_the_file_of_the_checks(tmp_path, capsys):
    metrics, output = tmp_path / "metrics", tmp_path / "measured.json"
    metrics.write_text(METRICS)
    command = [f"--metrics={metrics.as_uri()}", "--model=net", "--machine=here", f"--output={output}"]
    assert main(["threshold", *command]) == 0
    written = json.loads(output.read_text())
    assert written.keys() == json.loads(threshold.MEASURED.read_text()).keys()
    assert (written["service_ms"], threshold.threshold_ms(written)) == (10.5, 13)  # 10.5 * 0.7 / 0.6, rounded up
    assert "from 13 ms in queue" in capsys.readouterr().out
    assert main(["threshold", *command, "--model=nobody"]) == 1
    assert "no executions of 'nobody'" in capsys.readouterr().err
