"""`cigpose-client info` and `check` against `python -m server`, with two networks and the watchdog running."""

import json
import os
import signal

import numpy as np
import pytest
from cigpose_client import PoseClient
from cigpose_client.__main__ import main

from export.repository import build_repository
from tests.networks import save_detector, save_pose_network
from tests.reliability.launcher import launched

pytestmark = pytest.mark.server
ENSEMBLES = ["pose", "pose_whole-133", "pose_body-17"]


@pytest.fixture(scope="module")
def launcher(tritonserver, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    poses = [save_pose_network(folder / "whole-133.onnx", 133), save_pose_network(folder / "body-17.onnx", 17)]
    build_repository(poses, save_detector(folder / "red_cells.onnx"), folder / "repository")
    with launched(folder / "repository", tmp_path_factory.mktemp("launcher")) as server:
        yield server


@pytest.fixture
def check(launcher, capsys):
    """Return a function that runs the probe and returns its status and the first two words of each line."""

    def run():
        status = main(["check", "--url", launcher.grpc_url, "--timeout", "5"])
        return status, [tuple(line.split()[:2]) for line in capsys.readouterr().out.splitlines()]

    return run


def test_info_lists_every_network(launcher, capsys):
    assert main(["info", "--json", "--url", launcher.grpc_url]) == 0
    listing = json.loads(capsys.readouterr().out)
    assert listing["complete"]
    assert [(model["name"], model["network"], model["keypoints"]) for model in listing["models"]] == [
        ("pose", "whole-133", 133),
        ("pose_whole-133", "whole-133", 133),
        ("pose_body-17", "body-17", 17),
    ]


@pytest.mark.parametrize(("model", "name"), [("pose", "coco_wholebody"), ("body-17", "coco")])
def test_answers_name_their_keypoint_set(launcher, model, name):
    with PoseClient(launcher.grpc_url, model=model, timeout_s=30) as client:
        poses = client.estimate_boxes(np.zeros((40, 60, 3), np.uint8), [(0, 0, 30, 40)])
    assert poses.set_name == name and poses.keypoint_set.name == name


def test_check_asks_every_network(check):
    assert check() == (0, [("ok", f"{name}:") for name in ENSEMBLES])


@pytest.mark.parametrize(
    ("step", "red"), [("body-17", ENSEMBLES[2:]), pytest.param("accept_boxes", ENSEMBLES, marks=pytest.mark.slow)]
)
def test_check_fails_while_a_step_is_dead_and_passes_afterwards(launcher, check, step, red):
    """Recovery takes less than a second, so the watchdog is suspended during the check."""
    stub = next((stub for stub, model in launcher.stubs().items() if model == step), None)
    if stub is None:
        pytest.skip(f"{step} has no process: it runs inside tritonserver")
    launcher.process.send_signal(signal.SIGSTOP)
    try:
        os.kill(stub, signal.SIGKILL)
        launcher.wait_until(lambda: check()[0] == 1, 30)
        assert check() == (1, [("FAILED" if name in red else "ok", f"{name}:") for name in ENSEMBLES])
    finally:
        launcher.process.send_signal(signal.SIGCONT)
    launcher.wait_until(lambda: check()[0] == 0, 30)
    assert stub not in launcher.stubs()


@pytest.mark.slow
def test_check_fails_while_a_step_hangs_and_passes_afterwards(launcher, check):
    stub = next(stub for stub, model in launcher.stubs().items() if model == "decode_simcc")
    os.kill(stub, signal.SIGSTOP)
    assert check()[0] == 1
    launcher.wait_until(lambda: check()[0] == 0, 60)
