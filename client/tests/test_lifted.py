"""Joints in space: in the answers, in every output that can hold them, and drawn."""

import json
import sys

import cigpose_client
import cv2
import numpy as np
import pytest
from cigpose_client import PoseClient, Poses, draw_poses_3d, keypoint_sets
from cigpose_client.__main__ import main
from cigpose_client._protocol import boxes_ensemble_name, is_pose_ensemble

from client.tests.fake_server import lifted

SET = keypoint_sets()["human36m"]
STANDING = [  # metres from the root: x, y, z of a person of 1.75 m, who leans forwards
    *([0, 0, 0], [-0.1, 0, 0], [-0.1, 0.45, 0], [-0.1, 0.9, 0.1], [0.1, 0, 0], [0.1, 0.45, 0], [0.1, 0.9, 0.1]),
    *([0, -0.25, -0.1], [0, -0.5, -0.2], [0, -0.6, -0.3], [0, -0.75, -0.25]),
    *(
        [0.18, -0.5, -0.2],
        [0.2, -0.25, -0.2],
        [0.2, 0, -0.25],
        [-0.18, -0.5, -0.2],
        [-0.2, -0.25, -0.2],
        [-0.2, 0, -0.25],
    ),
]


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.full((240, 320, 3), 90, np.uint8))
    return path


def people(count=2, keypoints_3d=True):
    points = np.random.default_rng(count).uniform(0, 99, (count, 17, 2)).astype(np.float32)
    return Poses(
        bboxes=np.array([[30 * i, 2, 30 * i + 20, 90] for i in range(count)], np.float32).reshape(-1, 4),
        bbox_scores=np.ones(count, np.float32),
        persons_detected=count,
        keypoints=points,
        keypoint_scores=np.ones((count, 17), np.float32),
        keypoints_3d=np.tile(np.float32(STANDING), (count, 1, 1)) if keypoints_3d else None,
    )


@pytest.mark.parametrize("picture", [b"0", b"3"])
def test_the_answers_of_a_lifter_have_joints_in_space(server, picture):
    with PoseClient(server.url, model="pose_3d") as client:
        poses = client.estimate(picture)
    assert poses.keypoints_3d.shape == (int(picture), 17, 3)
    assert poses.keypoints_3d.dtype == np.float32
    np.testing.assert_array_equal(poses.keypoints_3d, lifted(poses.keypoints))
    assert poses.keypoint_set_3d is SET
    for row, person in enumerate(poses):
        np.testing.assert_array_equal(person.keypoints_3d, poses.keypoints_3d[row])
    np.testing.assert_array_equal(poses[1:].keypoints_3d, poses.keypoints_3d[1:])


def test_other_networks_have_none(server):
    with PoseClient(server.url, model="body") as client:
        poses = client.estimate(b"2")
    assert poses.keypoints_3d is poses[0].keypoints_3d is poses.keypoint_set_3d is None


def test_given_boxes_go_to_the_twin_and_long_lists_are_joined(server):
    boxes = np.array([[10 * i, 5, 10 * i + 50, 99] for i in range(40)], np.float32)
    with PoseClient(server.url, model="pose_3d") as client:
        poses = client.estimate_boxes(b"", boxes)
    assert {request.model for request in server.requests} == {"pose_3d_from_boxes"}
    assert len(server.requests) == 2
    np.testing.assert_array_equal(poses.keypoints_3d, lifted(poses.keypoints))
    assert (len(poses), poses.persons_detected) == (40, 40)


@pytest.mark.parametrize(
    ("model", "twin"),
    [
        ("pose", "pose_from_boxes"),
        ("pose_3d", "pose_3d_from_boxes"),
        ("pose_3d_from_boxes", "pose_3d_from_boxes"),
        ("capf", "pose_from_boxes_capf"),
        ("pose_from_boxes_capf", "pose_from_boxes_capf"),
    ],
)
def test_names_of_the_ensembles(model, twin):
    assert boxes_ensemble_name(model) == twin
    assert not is_pose_ensemble(twin)
    assert is_pose_ensemble("pose_3d")


def test_records_hold_the_joints(server, photo, capsys):
    assert main(["image", str(photo), "--model", "pose_3d", "--url", server.url]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["keypoint_set"], entry["keypoint_set_3d"]) == ("coco", "human36m")
    keypoints = np.array(entry["people"][1]["keypoints"])[:, :2]
    np.testing.assert_allclose(entry["people"][1]["keypoints_3d"], lifted(keypoints[None])[0], atol=1e-4)
    assert entry["people"][0]["keypoints_3d"][0] == [0.06, 1.82, 0.006]
    assert main(["image", str(photo), "--model", "body", "--url", server.url]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert "keypoint_set_3d" not in entry
    assert "keypoints_3d" not in entry["people"][0]


def test_coco_results_leave_them_out_and_say_so():
    with_joints, without = people(), people(keypoints_3d=False)
    assert with_joints.to_coco(1) == without.to_coco(1)
    for method in (Poses.to_coco, Poses.to_supervision):
        assert "keypoints_3d" in method.__doc__


def test_info_names_the_network_below(server, capsys):
    assert main(["info", "--url", server.url]) == 0
    assert "--model pose_3d: network of pose_3d, 17 keypoints (coco), lifted from body to 3-D (human36m)" in (
        capsys.readouterr().out
    )


def colored(drawn, side):
    """Return the columns of a drawing that hold a side's colour."""
    (rgb,) = [color for name, color in cigpose_client._draw.COLORS["body"].items() if name == side]
    return np.flatnonzero((np.abs(drawn.astype(int) - rgb).max(axis=2) < 30).any(axis=0))


def test_the_drawing_shows_the_people_from_two_sides():
    image_bgr = np.zeros((200, 100, 3), np.uint8)
    nobody, one = (draw_poses_3d(image_bgr, people(count)) for count in (0, 1))
    assert one.shape == nobody.shape
    assert one.dtype == np.uint8
    panels = np.array_split(np.arange(one.shape[1]), 3)
    left, right = colored(one, "left"), colored(one, "right")
    for panel in panels[1:]:
        assert np.isin(panel, np.union1d(left, right)).any()
        assert not np.isin(panel, np.union1d(colored(nobody, "left"), colored(nobody, "right"))).any()
    front = panels[1]
    assert left[np.isin(left, front)].mean() > right[np.isin(right, front)].mean()  # the person faces the camera


def test_a_person_who_leans_towards_the_camera_leans_left_as_seen_from_the_right():
    drawn = draw_poses_3d(np.zeros((200, 100, 3), np.uint8), people(1))
    side = drawn[:, 2 * drawn.shape[1] // 3 :]
    rows = np.flatnonzero([len(colored(row[None], "left")) for row in side])
    wrist, foot = (colored(side[row][None], "left").mean() for row in (rows[0], rows[-1]))
    assert wrist < foot - 20


def test_many_people_stand_apart_in_both_views():
    drawn = draw_poses_3d(np.zeros((200, 100, 3), np.uint8), people(6))
    middle = len(drawn) // 2
    for view in (drawn[:middle, 500:], drawn[middle:, 500:]):
        columns = colored(view, "left")
        assert (np.diff(columns) > 40).sum() == 5


def test_people_stand_side_by_side_in_the_order_of_their_boxes():
    image_bgr = np.zeros((200, 100, 3), np.uint8)
    wide, one = (colored(draw_poses_3d(image_bgr, people(count)), "left") for count in (3, 1))
    assert np.ptp(wide) > np.ptp(one)
    reversed_order = people(3).take([2, 1, 0])
    np.testing.assert_array_equal(
        draw_poses_3d(image_bgr, people(3))[:, -500:], draw_poses_3d(image_bgr, reversed_order)[:, -500:]
    )


def test_drawing_needs_joints_in_space():
    with pytest.raises(ValueError, match="these poses have no keypoints_3d; ask a network that lifts"):
        draw_poses_3d(np.zeros((9, 9, 3), np.uint8), people(keypoints_3d=False))


def test_a_missing_matplotlib_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"cigpose-client\[draw\]"):
        draw_poses_3d(np.zeros((9, 9, 3), np.uint8), people())


def test_the_command_draws_in_3d(server, photo, tmp_path, capsys):
    options = ["--url", server.url, "--json", str(tmp_path / "p.json")]
    plot = tmp_path / "new" / "3d.png"
    assert main(["image", str(photo), "--model", "pose_3d", "--plot-3d", str(plot), *options]) == 0
    assert cv2.imread(str(plot)).shape[1] > 1000
    assert main(["image", str(photo), "--model", "body", "--plot-3d", str(tmp_path / "b.png"), *options]) == 1
    assert "have no keypoints_3d" in capsys.readouterr().err
    assert not (tmp_path / "b.png").exists()


def test_the_plots_of_several_pictures_go_to_a_folder(server, photo, tmp_path, capsys):
    other, plots = photo.with_name("other.png"), tmp_path / "plots"
    other.write_bytes(photo.read_bytes())
    options = ["--url", server.url, "--model", "pose_3d", "--json", str(tmp_path / "p.jsonl"), "--format", "jsonl"]
    for command in (["image", str(photo), str(other)], ["folder", str(tmp_path), "--resume"]):
        assert main([*command, *options, "--plot-3d", str(plots)]) == 0
        assert sorted(path.name for path in plots.iterdir()) == ["other.png", "photo.png"]
        assert cv2.imread(str(plots / "other.png")).shape[1] > 1000
        (tmp_path / "p.jsonl").unlink()
        (plots / "photo.png").unlink()
    assert "2 pictures cannot be drawn into the one file" in refused(["image", str(photo), str(other)], "a.png", capsys)
    assert "the drawings of a folder cannot go to -" in refused(["folder", str(tmp_path)], "-", capsys)


def test_a_missing_plot_is_drawn_again(server, photo, tmp_path):
    plot = tmp_path / "new" / "photo.png"
    command = ["folder", str(tmp_path), "--url", server.url, "--model", "pose_3d", "--plot-3d", str(plot.parent)]
    command += ["--json", str(tmp_path / "p.jsonl")]
    assert main(command) == 0
    plot.unlink()
    assert main([*command, "--resume"]) == 0
    assert plot.exists()
    assert len(server.requests) == 2


def test_a_video_of_plots(server, tmp_path, capsys):
    clip, plots = tmp_path / "clip.avi", tmp_path / "plots.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(3):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    command = ["video", str(clip), "--url", server.url, "--model", "pose_3d"]
    assert main([*command, "--plot-3d", str(plots)]) == 0
    capture = cv2.VideoCapture(str(plots))
    assert (int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)) == (3, 10)
    assert capture.read()[1].shape[1] > 1000
    capture.release()
    assert capsys.readouterr().out == ""  # as with --output, the people go to a file if one is named
    assert "give --resume without --output and --plot-3d" in refused([*command, "--resume"], "a.avi", capsys)
    assert "a video cannot go to stdout" in refused(command, "-", capsys)


def refused(command, plot, capsys):
    assert main([*command, "--url", "127.0.0.1:1", "--plot-3d", plot]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("option", ["--output", "--plot-3d"])
def test_stdout_holds_one_output(server, photo, capsys, option):
    assert main(["image", str(photo), "--url", server.url, option, "-"]) == 2
    assert "stdout cannot take the drawn picture and the people" in capsys.readouterr().err


def test_a_plot_never_replaces_the_picture(server, photo, capsys):
    before = photo.read_bytes()
    assert main(["image", str(photo), "--model", "pose_3d", "--plot-3d", str(photo), "--url", server.url]) == 2
    assert photo.read_bytes() == before
