"""A new family is one folder and one line of a registry. The tests add example families to a copy of the checkout.

The copy's command builds a repository with each of them. The same pictures then go through the copy's in-process
runtime and through a real server, and the answers must be equal bit for bit.
"""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests import runtimes
from tests.export.seams.files import save_lifter, save_people_network
from tests.networks import save_detector, save_heatmap_network, save_pose_network
from tests.pictures import encode, noise_picture, picture_with_persons
from tests.triton import call, counters

pytestmark = pytest.mark.server

CHECKOUT = Path(__file__).parents[2]
SEAMS = Path(__file__).parent / "seams"


class Checkout:
    """A copy of the packages with one additional family."""

    def __init__(self, folder, family):
        for name in ("ensemble", "export", "server", "client/cigpose_client"):
            shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(SEAMS / family, folder / "export" / "families" / family)
        registry = folder / "export" / "families" / "__init__.py"
        before, opening, after = registry.read_text().partition("FAMILIES = (")
        assert opening
        comment, rest = after.split("\n", 1)
        registry.write_text(f'{before}{opening}{comment}\n    "{family}",\n{rest}')
        self._folder = folder

    def run(self, *command, sent=b""):
        paths = f"{self._folder}:{self._folder / 'client'}"
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": paths},
            input=sent,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def repository(self, *options):
        self.run("-m", "export", "repository", "--output", self._folder / "r", *options)
        return self._folder / "r"

    def answers(self, repository, cases):
        return pickle.loads(self.run(SEAMS / "answers.py", repository, sent=pickle.dumps(cases)))


def red_squares(count, width, height):
    image_bgr = noise_picture(width, height, seed=count)
    for i in range(count):
        cv2.rectangle(image_bgr, (90 * i + 10, 30), (90 * i + 60, 80), (0, 0, 255), cv2.FILLED)
    return encode(image_bgr)


def persons(count):
    return encode(picture_with_persons([(10 + 12 * i, 10 + 9 * i) for i in range(count)], seed=count))


def compare_runtimes(checkout, server, repository, pictures):
    """Return the server's answers with all outputs, by pipeline and number of people."""
    asked = [case for name in runtimes.pipelines(repository) for case in runtimes.cases(repository, name, pictures)]
    found = {}
    for case, expected in zip(asked, checkout.answers(repository, asked), strict=True):
        answer = runtimes.check(server, case, expected)
        if case[2] is None:
            found[case[0], len(answer["bboxes"])] = answer
    return found


def test_a_family_of_heat_maps(tmp_path, serve):
    checkout = Checkout(tmp_path / "checkout", "spot_heatmaps")
    files = save_heatmap_network(tmp_path / "warm.onnx"), save_detector(tmp_path / "d.onnx")
    repository = checkout.repository("--pose", files[0], "--detector", files[1])
    own = repository / "decode_heatmaps" / "1" / "export" / "families" / "spot_heatmaps"
    assert sorted(path.name for path in own.iterdir()) == ["__init__.py", "steps.py"]
    assert (own / "__init__.py").read_text() == ""
    with serve(repository, profile="cpu") as server:
        found = compare_runtimes(checkout, server, repository, [persons(count) for count in (0, 1, 3)])
    assert {count for name, count in found if name == "pose"} == {0, 1, 3}
    assert found["pose_from_boxes_warm", 2]["keypoints"].std() > 10
    assert found["pose", 0]["keypoints"].shape == (0, 17, 2)


def test_a_family_of_whole_pictures(tmp_path, serve):
    checkout = Checkout(tmp_path / "checkout", "spot_people")
    repository = checkout.repository("--pose", save_people_network(tmp_path / "red.onnx"))
    assert not list(repository.glob("pose_from_boxes*"))
    assert not (repository / "detector").exists()
    pictures = [red_squares(0, 300, 200), red_squares(1, 200, 320), red_squares(2, 400, 100)]
    with serve(repository, profile="cpu") as server:
        found = compare_runtimes(checkout, server, repository, pictures)
        verified = checkout.run("-m", "export", "verify", repository, "--url", server.grpc_url, "--crops", 2).decode()
        refused = call(server, "pose", pictures[1], error=True, nms_threshold=0.5)
        most = call(server, "pose", pictures[2], max_persons=2)
    assert [line.split(":")[0] for line in verified.splitlines()] == ["red"]
    assert {name for name, _ in found} == {"pose", "pose_red"}
    assert len(found) == 6
    assert ("pose", 0) in found
    assert "request parameter nms_threshold does not apply to this network" in refused.message()
    assert len(most["bboxes"]) == 2 < most["persons_detected"][0]


def test_a_family_that_lifts_the_keypoints_of_another(tmp_path, serve):
    checkout = Checkout(tmp_path / "checkout", "spot_lifter")
    below, lifter = save_pose_network(tmp_path / "spots.onnx"), save_lifter(tmp_path / "lift.onnx")
    detector = save_detector(tmp_path / "d.onnx")
    repository = checkout.repository("--pose", below, "--pose", lifter, "--detector", detector)
    pictures = [persons(count) for count in (0, 1, 3)]
    names = ("pose", "pose_from_boxes", "pose_3d", "pose_3d_from_boxes")
    assert all((repository / name).is_dir() for name in (*names, "pose_lift", "pose_from_boxes_lift"))
    with serve(repository, profile="cpu", metrics=True) as server:
        before = counters(server, "nv_inference_exec_count")
        for name in ("pose_3d", "pose_3d_from_boxes"):
            for _, inputs, wanted in runtimes.cases(repository, name, pictures):
                if wanted and "keypoints_3d" not in wanted:
                    call(server, name, inputs["image"], inputs.get("bboxes"), wanted)
        after = counters(server, "nv_inference_exec_count")
        assert [after[name] - before[name] for name in ("lift", "lift_inputs", "lift_outputs")] == [0, 0, 0]
        assert after["spots"] > before["spots"]
        assert runtimes.failed_canaries(server, repository) == {}
        found = compare_runtimes(checkout, server, repository, pictures)
        verified = checkout.run("-m", "export", "verify", repository, "--url", server.grpc_url, "--crops", 2).decode()
    assert [line.split(":")[0] for line in verified.splitlines()] == ["detector", "lift", "spots"]
    assert found["pose_3d", 0]["keypoints_3d"].shape == (0, 17, 3)
    lifted = found["pose_3d_from_boxes", 2]
    np.testing.assert_allclose(lifted["keypoints_3d"][..., :2], lifted["keypoints"] * np.float32(0.01))
    assert lifted["keypoints_3d"][..., 2].std() > 0
