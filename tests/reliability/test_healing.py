"""Recovery from dead and hung processes and from a dead server. Models that do not need the broken one go on."""

import json
import os
import shutil
import signal
import time
from functools import partial

import numpy as np
import pytest

from tests.reliability.launcher import is_alive, launched
from tests.reliability.load import ask, keep_asking, load

pytestmark = pytest.mark.server
RECOVERY_S = 30  # on a busy machine; the record has the usual time
BREAKING = """
import os
from ensemble.steps.crop_persons import CropPersons

unbroken, was_broken = CropPersons.run, os.path.exists({broken!r})


def run(self, request):
    if os.path.exists({broken!r}) and not was_broken:
        raise RuntimeError("broken for the test")
    return unbroken(self, request)


CropPersons.run = run
"""  # until the process is replaced


def ask_about_a_box(server, picture, alone):
    """Return a function that sends one box to `pose_from_boxes` and judges the answer."""
    bboxes = np.float32([[5, 5, 40, 60]])
    expected = dict(zip(("keypoints", "keypoint_scores"), alone.estimate_boxes(picture, bboxes), strict=True))
    return partial(ask, server, picture, expected, "pose_from_boxes", bboxes)


@pytest.fixture(scope="module")
def launcher(tritonserver, repository, tmp_path_factory):
    with launched(repository, tmp_path_factory.mktemp("launcher")) as server:
        yield server


@pytest.mark.parametrize("profile", ["", "cpu"])
def test_every_models_dead_process_is_replaced_under_load(
    tritonserver, repository, tmp_path, pictures, expected, alone, record, profile
):
    """With the profile, most models have two processes, and one of them dies."""
    with launched(repository, tmp_path, *(["--profile", profile] if profile else [])) as launcher:
        kill_each(launcher, pictures, expected, alone, record, f"dead-stub{profile and '-'}{profile}")


def kill_each(launcher, pictures, expected, alone, record, name):
    launcher.wait_until(lambda: not launcher.is_red(), 20)
    recovered, wrong, lost, leaving = {}, 0, 0, set()
    about_a_box = ask_about_a_box(launcher, pictures[1], alone)
    with load(launcher, pictures, expected) as account, keep_asking([about_a_box]) as boxes:
        for model in sorted(set(launcher.stubs().values())):
            healed = time.monotonic()  # the previous fault is over
            launcher.wait_until(lambda moment=healed: boxes.right_since(moment), 20)
            launcher.wait_until(lambda moment=healed: account.right_since(moment), 20)
            mended = launcher.mended()
            before, recoveries = launcher.stubs(), json.loads(launcher.health.read_text())["recoveries"]
            stub = next(stub for stub, of in before.items() if of == model)
            killed = time.monotonic()
            os.kill(stub, signal.SIGKILL)
            launcher.wait_until_mended(mended, 30)
            back = time.monotonic()
            launcher.wait_until(lambda moment=back: account.right_since(moment), RECOVERY_S)
            recovered[model] = time.monotonic() - killed
            after = json.loads(launcher.health.read_text())["recoveries"]
            assert after == recoveries | {model: recoveries.get(model, 0) + 1}, "no other model was reloaded"
            others = {stub for stub, of in before.items() if of != model} - leaving
            assert others == {stub for stub, of in launcher.stubs().items() if of != model} - leaving
            leaving |= before.keys() - others  # of two processes, Triton keeps the living one
            if model in ("detector", "select_persons"):
                assert set(boxes.kinds(killed, back)) <= {"right"}, "needs no detector"
            if model == "accept_boxes":
                assert set(account.kinds(killed, back)) <= {"right"}, "needs no given boxes"
            kinds = account.kinds(killed, time.monotonic())
            wrong, lost = wrong + kinds.pop("wrong", 0), lost + kinds.total() - kinds.pop("right", 0)
    launcher.wait_until(lambda: not leaving & launcher.stubs().keys(), 30)
    fault = f"a model's process killed{', one of two' * name.endswith('cpu')}"
    record(name, fault=fault, tries=len(recovered), lost=lost, wrong=wrong, recovery_s=max(recovered.values()))
    assert not wrong
    assert max(recovered.values()) < RECOVERY_S, recovered
    health = json.loads(launcher.health.read_text())
    assert set(recovered) == set(health["recoveries"]), "one recovery for each model"
    assert health["restarts"] == 0
    metrics = launcher.watchdog_metrics()
    assert all(metrics[f'cigpose_model_recoveries_total{{model="{model}"}}'] > 0 for model in recovered)
    assert metrics["cigpose_server_healthy"] == 1
    log = launcher.log.read_text()
    assert all(f"{model} is broken: process" in log and f"{model} is back after" in log for model in recovered)


def test_a_stopped_process_is_replaced(launcher, pictures, expected, record):
    """The process lives, but does not answer."""
    stub = next(stub for stub, model in launcher.stubs().items() if model == "crop_persons")
    mended = launcher.mended()
    os.kill(stub, signal.SIGSTOP)
    stopped = time.monotonic()
    launcher.wait_until_mended(mended, 30 + RECOVERY_S)
    record("stopped-stub", fault="a model's process stopped", tries=1, recovery_s=time.monotonic() - stopped)
    assert ask(launcher, pictures[3], expected[3]) == "right"
    launcher.wait_until(lambda: not is_alive(stub), 5)


def test_a_dead_server_is_restarted(launcher, pictures, expected, record):
    server, mended, killed = launcher.tritonserver(), launcher.mended(), time.monotonic()
    os.kill(server, signal.SIGKILL)
    launcher.wait_until_mended(mended, 60)
    record("dead-server", fault="tritonserver killed", tries=1, recovery_s=time.monotonic() - killed)
    assert not is_alive(server)
    assert ask(launcher, pictures[2], expected[2]) == "right"
    assert json.loads(launcher.health.read_text())["restarts"] == 1
    assert launcher.watchdog_metrics()["cigpose_server_restarts_total"] == 1


def test_a_process_that_answers_only_errors_is_replaced(tritonserver, repository, tmp_path, pictures, alone):
    """Triton counts these as successes of the model."""
    copy, broken = shutil.copytree(repository, tmp_path / "repository"), tmp_path / "broken"
    with (copy / "crop_persons" / "1" / "model.py").open("a") as file:
        file.write(BREAKING.format(broken=str(broken)))
    with launched(copy, tmp_path) as server:
        question = ask_about_a_box(server, pictures[1], alone)
        assert question() == "right"
        mended = server.mended()
        broken.touch()
        with keep_asking([question]):
            server.wait_until_mended(mended, 30 + RECOVERY_S)
        assert question() == "right"
        assert "crop_persons is broken: [StatusCode.INTERNAL] internal error" in server.log.read_text()


def test_a_model_that_stays_broken_ends_the_command(tritonserver, repository, tmp_path):
    """An outer supervisor must see a failure that the watchdog cannot repair."""
    copy, broken = shutil.copytree(repository, tmp_path / "repository"), tmp_path / "broken"
    with (copy / "accept_boxes" / "1" / "model.py").open("a") as file:
        file.write(f"\nimport os\nif os.path.exists({str(broken)!r}):\n    raise RuntimeError('broken for the test')\n")
    with launched(copy, tmp_path) as server:
        broken.touch()
        os.kill(next(stub for stub, model in server.stubs().items() if model == "accept_boxes"), signal.SIGKILL)
        assert server.process.wait(300) == 1
        log = server.log.read_text()
        assert "accept_boxes is broken" in log and "loading it again (1 of 5)" in log
        assert server.is_red()
