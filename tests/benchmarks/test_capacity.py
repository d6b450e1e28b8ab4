import json

import pytest

from benchmarks.capacity import Server, answer, main, server_of
from benchmarks.threshold import waiting_ms

STAGES = {
    "decode": {"cpu_ms": 4.0, "compute_ms": 4.0, "per_person": False},
    "pose network": {"cpu_ms": 60.0, "compute_ms": 60.0, "per_person": True, "ms_by_batch": {"3": 30.0, "8": 40.0}},
    "front end and copies": {"cpu_ms": 2.0, "per_person": False},
}
LOAD = {"stages": STAGES, "people_per_picture": 3.0, "mean_ms": 70.0, "callers_cpu_ms": 5.0}
MEASURED = {
    "machine": {"cores": 2, "gpus": [], "processor": "some"},
    "profile": "cpu",
    "loads": {"one caller": LOAD, "saturated": LOAD},
}


def test_demand_grows_with_the_people():
    assert server_of(MEASURED, 3.0) == Server(servers=2, demand_ms=66.0, alone_ms=70.0)
    assert server_of(MEASURED, 6.0) == Server(servers=2, demand_ms=126.0, alone_ms=130.0)
    assert server_of(MEASURED, 0.0) == Server(servers=2, demand_ms=6.0, alone_ms=10.0)


def test_callers_on_the_same_machine_take_their_share():
    assert server_of(MEASURED, 3.0, with_callers=True).demand_ms == 71.0


def test_a_gpu_is_limited_by_the_network_at_its_best_batch():
    measured = {**MEASURED, "machine": {"cores": 16, "gpus": ["one"]}}
    server = server_of(measured, 4.0)
    assert (server.servers, server.demand_ms) == (1, 4 * 40.0 / 8)


def test_latency_is_that_of_an_idle_server_plus_waiting():
    server = Server(servers=2, demand_ms=50.0, alone_ms=55.0)
    assert server.pictures_per_s == 40
    assert server.latency_ms(0.0) == (55.0, 55.0)
    mean, p95 = server.latency_ms(32.0)
    assert mean == pytest.approx(55.0 + 2 * waiting_ms(50.0, 0.8, 2))
    assert p95 > mean


def test_the_tail_of_one_core_is_exponential():
    """M/M/1: 5 % of the waits are longer than S / (1 - load) * ln(load / 0.05)."""
    server = Server(servers=1, demand_ms=10.0, alone_ms=0.0)
    assert server.latency_ms(80.0)[1] == pytest.approx(10 / 0.2 * 2.7726, rel=1e-3)


def test_replicas_stay_below_the_target_load_and_one_is_spare():
    plan = answer(Server(servers=2, demand_ms=66.0, alone_ms=70.0), 200)
    assert plan["pictures_per_day_of_a_replica"] == round(86400 * plan["pictures_per_s_of_a_replica"])
    assert plan["replicas"] == 11  # 200 / (0.7 * 30.3) = 9.43, rounded up, and one more
    assert plan["cores_or_gpus"] == 22
    assert plan["load_of_a_replica"] < 0.7


def test_the_command_reads_measured_stages(tmp_path, capsys):
    path = tmp_path / "stages.json"
    assert main(["--stages", str(path)]) == 1
    assert "python -m benchmarks stages" in capsys.readouterr().err
    path.write_text(json.dumps(MEASURED))
    assert main(["--rate", "200", "--people", "3", "--stages", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["replicas"] == 11
