"""A dead process, a hung one, a dead server: correct answers again, and nobody else is troubled."""

import json
import os
import signal
import time

import pytest

from tests.reliability.launcher import is_alive, launched
from tests.reliability.load import ask, load

pytestmark = pytest.mark.server
RECOVERY_S = 10


@pytest.fixture(scope="module")
def launcher(tritonserver, repository, tmp_path_factory):
    with launched(repository, tmp_path_factory.mktemp("launcher")) as server:
        yield server


def test_every_dead_process_is_replaced_under_load(launcher, pictures, expected, record):
    launcher.wait_until(lambda: not launcher.is_red(), 20)
    recovered, wrong, lost = {}, 0, 0
    with load(launcher, pictures, expected) as account:
        for stub, model in launcher.stubs().items():
            launcher.wait_until(lambda: account.right_since(time.monotonic() - 0.3), 20)
            killed = time.monotonic()
            os.kill(stub, signal.SIGKILL)
            launcher.wait_until(launcher.is_red, 30)
            launcher.wait_until(lambda: not launcher.is_red(), RECOVERY_S)
            back = time.monotonic()
            launcher.wait_until(lambda moment=back: account.right_since(moment), RECOVERY_S)
            recovered[model] = time.monotonic() - killed
            kinds = account.kinds(killed, time.monotonic())
            wrong, lost = wrong + kinds.pop("wrong", 0), lost + kinds.total() - kinds.pop("right", 0)
    record("dead-stub", fault="a model's process killed", tries=len(recovered), lost=lost, wrong=wrong,
           recovery_s=max(recovered.values()))  # fmt: skip
    assert not wrong
    assert max(recovered.values()) < RECOVERY_S, recovered
    told = json.loads(launcher.health.read_text())
    assert set(recovered) == set(told["recoveries"]), "an event for each"
    assert told["restarts"] == 0
    metrics = launcher.watchdog_metrics()
    assert all(metrics[f'cigpose_model_recoveries_total{{model="{model}"}}'] > 0 for model in recovered)
    assert metrics["cigpose_server_healthy"] == 1
    log = launcher.log.read_text()
    assert all(f"{model} is broken: process" in log and f"{model} is back after" in log for model in recovered)


def test_a_stopped_process_is_replaced(launcher, pictures, expected, record):
    """It lives, and answers nothing."""
    stub = next(stub for stub, model in launcher.stubs().items() if model == "crop_persons")
    os.kill(stub, signal.SIGSTOP)
    stopped = time.monotonic()
    launcher.wait_until(launcher.is_red, 30)
    launcher.wait_until(lambda: not launcher.is_red(), RECOVERY_S)
    record("stopped-stub", fault="a model's process stopped", tries=1, recovery_s=time.monotonic() - stopped)
    assert ask(launcher, pictures[3], expected[3]) == "right"
    launcher.wait_until(lambda: not is_alive(stub), 5)


def test_a_dead_server_is_started_anew(launcher, pictures, expected, record):
    server, killed = launcher.tritonserver(), time.monotonic()
    os.kill(server, signal.SIGKILL)
    launcher.wait_until(launcher.is_red, 30)
    launcher.wait_until(lambda: not launcher.is_red(), 60)
    record("dead-server", fault="tritonserver killed", tries=1, recovery_s=time.monotonic() - killed)
    assert not is_alive(server)
    assert ask(launcher, pictures[2], expected[2]) == "right"
    assert json.loads(launcher.health.read_text())["restarts"] == 1
    assert launcher.watchdog_metrics()["cigpose_server_restarts_total"] == 1
