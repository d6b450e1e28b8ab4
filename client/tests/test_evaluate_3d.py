import json

import numpy as np
import pytest
from cigpose_client.__main__ import main
from cigpose_client.evaluation import Sample, evaluate_3d
from cigpose_client.evaluation.joints_3d import aligned, mpjpe, p_mpjpe

from client.tests.fake_server import Request, lifted, people

RECORDED = {"MPJPE": 266.46967914942427, "P-MPJPE": 116.05883238106936, "MPJVE": 531.0825433516168}
"""The official formulas in mm on `arrays()`, which hold a mirrored pose; computed apart from this code."""


def arrays():
    random = np.random.default_rng(7)
    truth = random.normal(size=(6, 17, 3)) * 0.4
    predicted = truth * 1.1 + random.normal(size=truth.shape) * 0.05
    predicted[3] *= -1
    return predicted, truth


def samples(action="all", track="a"):
    return [Sample(*pair, action, track) for pair in zip(*arrays(), strict=True)]


def turn(angle):
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def test_the_errors_equal_the_official_arithmetic():
    assert evaluate_3d(samples()) == {name: pytest.approx(RECORDED, rel=1e-12) for name in ("all", "mean")}


def test_procrustes_removes_turns_scales_and_moves_but_no_mirroring():
    _, truth = arrays()
    moved = 2.5 * truth @ turn(1.0) + [1, 2, 3]
    assert p_mpjpe(moved, truth) < 1e-12 < 1 < mpjpe(moved, truth)
    assert p_mpjpe(truth * [-1, 1, 1], truth) > 0.05


def test_a_pose_in_one_point_is_moved_to_the_middle():
    _, truth = arrays()
    expected = np.broadcast_to(truth.mean(axis=1, keepdims=True), truth.shape)
    np.testing.assert_allclose(aligned(np.ones_like(truth), truth), expected)


def test_actions_count_alike():
    zero = [Sample(truth, truth, "sitting") for truth in arrays()[1][:1]]
    errors = evaluate_3d([*samples("walking"), *zero])
    assert errors["walking"] == pytest.approx(RECORDED)
    assert errors["sitting"] == pytest.approx({"MPJPE": 0, "P-MPJPE": 0}, abs=1e-9)
    assert errors["mean"]["MPJPE"] == pytest.approx(RECORDED["MPJPE"] / 2)
    assert errors["mean"]["MPJVE"] == pytest.approx(RECORDED["MPJVE"])


def test_velocities_stay_within_a_track():
    """The tracks are mixed in the file; a jump from one to the other is no movement."""
    _, truth = arrays()
    first = [Sample(each, each, "all", "first") for each in truth[:3]]
    second = [Sample(each + 1, each, "all", "second") for each in truth[3:]]
    mixed = [sample for pair in zip(first, second, strict=True) for sample in pair]
    assert evaluate_3d(mixed)["all"]["MPJVE"] == pytest.approx(0, abs=1e-9)
    assert evaluate_3d(mixed)["all"]["MPJPE"] == pytest.approx(500 * 3**0.5)


def test_nothing_to_evaluate_is_an_error():
    with pytest.raises(ValueError, match="no annotated person has keypoints_3d"):
        evaluate_3d([])


@pytest.fixture
def files(tmp_path):
    """Function: error in metres along x -> arguments of `evaluate` for three pictures of two people."""

    def write(offset=0.0, **changes):
        images, annotations = [], []
        for number in range(3):
            (tmp_path / f"{number}.jpg").write_bytes(b"2")
            action = "Walking" if number < 2 else "Sitting"
            images.append({"id": number, "file_name": f"{number}.jpg", "sequence": action, "action": action})
            boxes = np.float32([[10, 20, 60 + number, 220], [5, 9, 105, 209]])
            truth = lifted(people(Request("", b"", boxes, (), {}, 0, {}), 17)["keypoints"])
            for (left, top, right, bottom), joints in zip(boxes.tolist(), truth, strict=True):
                joints = joints + np.float32([7, 8, 9])  # the place of the root does not matter
                joints[1:, 0] += offset
                box = [left, top, right - left, bottom - top]
                person = {"image_id": number, "category_id": 1, "bbox": box, "keypoints_3d": joints.tolist()}
                annotations.append(person | changes)
        path = tmp_path / "a.json"
        path.write_text(json.dumps({"images": images, "annotations": annotations}))
        return ["evaluate", "--annotations", str(path), "--images", str(tmp_path)]

    return write


def root_errors():
    """Return by how many mm the fake server's root lies beside the annotated one, which is 0, per box."""
    boxes = np.float32([[10, 20, 60 + number, 220] for number in range(3)] + [[5, 9, 105, 209]] * 3)
    roots = lifted(people(Request("", b"", boxes, (), {}, 0, {}), 17)["keypoints"])[:, 0]
    return 1000 * np.linalg.norm(roots, axis=1)


def test_the_command(server, files, capsys):
    assert main([*files(), "--model", "pose_3d", "--url", server.url, "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["network"], report["pictures"]) == ("pose_3d", 3)
    errors = report["errors_mm"]
    assert list(errors) == ["Walking", "Sitting", "mean"]
    expected = root_errors()  # the answers are rigid: every joint is as far off as the root
    assert errors["Walking"]["MPJPE"] == pytest.approx(expected[[0, 1, 3, 4]].mean(), rel=1e-4)
    assert errors["Sitting"]["MPJPE"] == pytest.approx(expected[[2, 5]].mean(), rel=1e-4)
    assert errors["mean"]["P-MPJPE"] == pytest.approx(0, abs=1e-2)
    assert "MPJVE" in errors["Walking"]
    assert "MPJVE" not in errors["Sitting"]
    assert {request.model for request in server.requests} == {"pose_3d_from_boxes"}


def test_the_table(server, files, capsys):
    assert main([*files(0.1), "--model", "pose_3d", "--url", server.url]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["action", "MPJPE", "mm", "P-MPJPE", "mm", "MPJVE", "mm"]
    assert [row.split()[0] for row in rows] == ["Walking", "Sitting", "mean"]
    assert rows[1].split()[-1] == "-"
    assert float(rows[2].split()[2]) > 10


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--model", "body"], 1, "pose_body answers no keypoints_3d; choose a network that lifts, such as pose_3d"),
        (["--boxes", "detector"], 2, "joints in space are compared person by person; leave out --boxes"),
        (["--save-results", "r.json"], 2, "leave out --boxes, --results and --save-results"),
    ],
)
def test_what_does_not_fit_is_refused(server, files, capsys, options, status, message):
    assert main([*files(), "--model", "pose_3d", *options, "--url", server.url]) == status
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("joints", [[[1, 2, 3]] * 16, [[1, 2]] * 17, "many", [[1, 2, "x"]] * 17])
def test_other_joints_are_refused(server, files, capsys, joints):
    assert main([*files(keypoints_3d=joints), "--model", "pose_3d", "--url", server.url]) == 1
    assert "keypoints_3d must be 17 times [x, y, z] in metres, found" in capsys.readouterr().err
