"""What the watchdog concludes, without a server."""

import itertools
import logging
import queue
from types import SimpleNamespace

import numpy as np
import pytest
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException, deserialize_bytes_tensor

from ensemble.steps.decode_image import PictureLimits, decode_picture
from server import health, supervisor, watchdog
from server.canary import Verdict, canary_inputs, verdict
from server.health import Health
from server.process import Crashed
from server.tries import Tries
from server.watchdog import RestartNeeded, Watchdog


def test_tries_are_bounded_pause_ever_longer_and_are_forgotten():
    tries = Tries(limit=4, window_s=100)
    assert [tries.take(now) for now in (0, 10, 20, 30, 40)] == [0, 1, 2, 4, None]
    assert tries.take(100) == 4  # the first is forgotten
    assert tries.take(1000) == 0


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("INVALID_ARGUMENT", Verdict.ALIVE),
        ("UNAVAILABLE", Verdict.LATE),
        ("DEADLINE_EXCEEDED", Verdict.LATE),
        ("INTERNAL", Verdict.BROKEN),
        ("NOT_FOUND", Verdict.BROKEN),
    ],
)
def test_overload_is_not_death(status, expected):
    assert verdict(None) is Verdict.ALIVE
    assert verdict(InferenceServerException("...", status=f"StatusCode.{status}")) is expected


def test_a_canary_is_made_from_the_configuration():
    config = model_config_pb2.ModelConfig(max_batch_size=8)
    config.input.add(name="crops", data_type="TYPE_UINT8", dims=[4, 3, 3])
    config.input.add(name="boxes", data_type="TYPE_FP32", dims=[-1, 4])
    config.input.add(name="image", data_type="TYPE_STRING", dims=[1])
    crops, boxes, image = canary_inputs(config)
    assert (crops.shape(), crops.datatype(), crops._get_content()) == ([1, 4, 3, 3], "UINT8", b"\1" * 36)
    assert np.frombuffer(boxes._get_content(), np.float32).tolist() == [0, 0, 1, 1]
    (picture,) = deserialize_bytes_tensor(image._get_content())
    assert decode_picture(picture, PictureLimits()).shape == (1, 1, 3)


class Server:
    """A server that answers canaries as the test says, and counts what it is told to do."""

    def __init__(self):
        self.control = self.client = self
        self.process = SimpleNamespace(pid=0, poll=lambda: None)
        self.answers, self.success, self.reloaded, self.reload_fails = [], 0, 0, False
        self.busy = itertools.count(1)  # the network has answered real requests at every look
        self.options, self.loaded, self.load_fails = SimpleNamespace(repository=None), [], False

    def states(self):
        return {"step": "READY", "pose": "READY", "network": "READY"}

    def config(self, name):
        backend = {"network": "onnxruntime", "step": "python"}.get(name, "")
        return model_config_pb2.ModelConfig(platform="ensemble" if name == "pose" else "", backend=backend)

    def executions(self):
        return {"step": self.success, "network": next(self.busy)}

    def async_infer(self, model, inputs, callback, client_timeout):
        status = self.answers.pop(0) if self.answers else None
        callback(None, status and InferenceServerException("...", status=f"StatusCode.{status}"))

    def reload(self, name):
        if self.reload_fails:
            raise InferenceServerException("failed to load", status="StatusCode.INTERNAL")
        self.reloaded += 1

    def load(self, name):
        self.loaded.append(name)
        if self.load_fails:
            raise InferenceServerException("no graph", status="StatusCode.INVALID_ARGUMENT")

    def missing(self, patience_s):
        return []


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only in sleep, and a machine whose stubs use `busy` of it."""
    clock = SimpleNamespace(now=1000.0, busy=0.0, end=1000.0, manifest=[])
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(watchdog.time, "sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))
    clock.stubs = {7: "step", 8: "network"}
    monkeypatch.setattr(watchdog.stubs, "stubs_of", lambda _: dict(clock.stubs))
    monkeypatch.setattr(watchdog.stubs, "is_alive", lambda stub, _: stub in clock.stubs)
    monkeypatch.setattr(watchdog, "manifest_problems", lambda _: list(clock.manifest))
    monkeypatch.setattr(watchdog.stubs, "kill", lambda *_: None)
    monkeypatch.setattr(watchdog.stubs, "cpu_time_s", lambda _: clock.busy * (clock.now - 1000))
    return clock


def watch(server, clock, seconds, updates=()):
    found, updates = Health(ready=True), list(updates)
    end = clock.now + seconds
    Watchdog(server, found).run(lambda: clock.now >= end, lambda: bool(updates and updates.pop()))
    return found


def test_an_update_loads_networks_and_forgets_their_old_processes(clock, monkeypatch):
    server = Server()

    def load(name):
        server.loaded.append(name)
        clock.stubs[9] = "network"
        monkeypatch.setattr(watchdog.time, "sleep", later)

    def later(seconds):
        clock.now += seconds
        clock.stubs.pop(8, None)  # the old one has ended

    server.load = load
    found = watch(server, clock, 30, updates=[1])
    assert server.loaded == ["network"]
    assert (found.updates, found.failed_updates, found.recoveries) == ({"network": 1}, {}, {})


def test_a_failed_update_leaves_the_present_network_watched(clock, caplog):
    server = Server()
    server.load_fails = True
    with caplog.at_level(logging.CRITICAL):
        found = watch(server, clock, 30, updates=[1])
    assert (found.updates, found.failed_updates, found.is_well) == ({}, {"network": "no graph"}, True)


def test_a_repository_that_was_tampered_with_is_not_loaded(clock, caplog):
    server = Server()
    clock.manifest = ["network/1/model.onnx was changed"]
    with caplog.at_level(logging.CRITICAL):
        watch(server, clock, 30, updates=[1])
    assert server.loaded == []


def test_a_broken_model_is_not_loaded_again_from_changed_files(clock, caplog):
    server = Server()
    clock.manifest, server.answers = ["models: network/1/model.onnx was changed"], ["INTERNAL"] * 2
    assert watch(server, clock, 60).recoveries == {"step": 1}, "what changed is another model's"
    clock.manifest, server.answers = ["models: step/1/model.py was changed"], ["INTERNAL"] * 2
    with caplog.at_level(logging.CRITICAL), pytest.raises(RestartNeeded, match=r"model\.py was changed"):
        watch(server, clock, 60)
    assert server.reloaded == 1


def test_one_fault_may_be_a_requests_two_are_the_models(clock):
    server = Server()
    server.answers = ["INTERNAL"]
    assert watch(server, clock, 60).recoveries == {}
    server.answers = ["INTERNAL", "INTERNAL"]
    assert watch(server, clock, 60).recoveries == {"step": 1}


@pytest.mark.parametrize("status", ["DEADLINE_EXCEEDED", "UNAVAILABLE"])
def test_late_and_working_is_busy_late_and_idle_is_hung(clock, status):
    server = Server()
    server.answers, clock.busy = [status] * 1000, 0.5
    assert watch(server, clock, 120).recoveries == {}
    server.answers, clock.busy = [status] * 7, 0.0
    found = watch(server, clock, 90)
    assert found.recoveries == {"step": 1}
    assert found.is_well


def test_late_while_others_are_answered_is_busy(clock, monkeypatch):
    server = Server()
    server.answers = ["DEADLINE_EXCEEDED"] * 1000
    monkeypatch.setattr(server, "executions", lambda: {"step": int(clock.now) // 12, "network": next(server.busy)})
    assert watch(server, clock, 120).recoveries == {}


def test_a_model_that_keeps_breaking_asks_for_a_restart(clock):
    server = Server()
    server.answers = ["INTERNAL"] * 1000
    with pytest.raises(RestartNeeded, match="step keeps breaking"):
        watch(server, clock, 300)
    assert server.reloaded == 5


def test_a_model_that_cannot_be_loaded_asks_for_a_restart(clock, caplog):
    server = Server()
    server.answers, server.reload_fails = ["NOT_FOUND", "NOT_FOUND"], True
    with caplog.at_level(logging.CRITICAL), pytest.raises(RestartNeeded, match="failed to load"):
        watch(server, clock, 60)


def test_a_crash_at_the_first_start_is_worth_another_try_a_refusal_is_not(monkeypatch, caplog):
    ends = [Crashed("ended with -6"), KeyboardInterrupt(), ValueError("no models")]

    def start(options, should_stop):
        raise ends.pop(0)

    monkeypatch.setattr(supervisor, "running_server", start)
    monkeypatch.setattr(supervisor, "_wait", lambda *_: None)
    with caplog.at_level(logging.CRITICAL), pytest.raises(KeyboardInterrupt):
        supervisor.supervise(None, lambda: False)
    with pytest.raises(ValueError, match="no models"):
        supervisor.supervise(None, lambda: False)


def test_restarts_are_bounded_and_end_non_zero(monkeypatch, tmp_path, caplog):
    starts = queue.SimpleQueue()
    monkeypatch.setattr(supervisor, "_serve_once", lambda *_: starts.put(1) or "it dies")
    monkeypatch.setattr(supervisor, "_wait", lambda *_: None)
    with caplog.at_level(logging.CRITICAL):
        assert supervisor.supervise(None, lambda: False, [lambda health: health.write(tmp_path / "health")]) == 1
    assert starts.qsize() == 5
    assert health.main([str(tmp_path / "health")]) == 1


def test_the_health_file_tells_who_is_ill_and_who_has_stopped_writing(tmp_path, capsys):
    path = tmp_path / "health"
    assert health.main([str(path)]) == 1
    Health(ready=True).write(path)
    assert health.main([str(path)]) == 0
    Health(ready=True, broken={"step": "process 7 has died"}).write(path)
    capsys.readouterr()
    assert health.main([str(path)]) == 1
    assert capsys.readouterr().err == "step: process 7 has died\n"
    Health().write(path)
    assert health.problem(path, path.stat().st_mtime) == "the server is not ready"
    assert "nobody has written" in health.problem(path, path.stat().st_mtime + 60)
