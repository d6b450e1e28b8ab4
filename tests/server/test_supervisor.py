import logging
import queue

import pytest

from server import health, supervisor
from server.health import Health
from server.process import Crashed
from server.tries import Tries


def test_tries_are_limited_with_growing_pauses_within_a_window():
    tries = Tries(limit=4, window_s=100)
    assert [tries.take(now) for now in (0, 10, 20, 30, 40)] == [0, 1, 2, 4, None]
    assert tries.take(100) == 4  # the first is forgotten
    assert tries.take(1000) == 0


def test_a_crash_at_the_first_start_is_retried_an_error_is_not(monkeypatch, caplog):
    ends = [Crashed("ended with -6"), KeyboardInterrupt(), ValueError("no models")]

    def start(options, should_stop):
        raise ends.pop(0)

    monkeypatch.setattr(supervisor, "running_server", start)
    monkeypatch.setattr(supervisor, "_wait", lambda *_: None)
    with caplog.at_level(logging.CRITICAL), pytest.raises(KeyboardInterrupt):
        supervisor.supervise(None, lambda: False)
    with pytest.raises(ValueError, match="no models"):
        supervisor.supervise(None, lambda: False)


def test_restarts_are_limited_and_then_the_status_is_1(monkeypatch, tmp_path, caplog):
    starts = queue.SimpleQueue()
    monkeypatch.setattr(supervisor, "_serve_once", lambda *_: starts.put(1) or "it dies")
    monkeypatch.setattr(supervisor, "_wait", lambda *_: None)
    with caplog.at_level(logging.CRITICAL):
        assert supervisor.supervise(None, lambda: False, [lambda health: health.write(tmp_path / "health")]) == 1
    assert starts.qsize() == 5
    assert health.main([str(tmp_path / "health")]) == 1


def test_the_health_file_reports_broken_models_and_its_own_age(tmp_path, capsys):
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
    assert "was not written for 60 s" in health.problem(path, path.stat().st_mtime + 60)
