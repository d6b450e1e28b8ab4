import sys

import numpy as np
import pytest
from cigpose_client import Poses, draw_poses, keypoint_sets

GREY = 120


def one_person(points, size=200.0, score=1.0):
    random = np.random.default_rng(points)
    keypoints = random.uniform(0.2 * size, 0.8 * size, (1, points, 2)).astype(np.float32)
    return Poses(
        bboxes=np.array([[0, 0, size, size]], np.float32),
        bbox_scores=np.ones(1, np.float32),
        persons_detected=1,
        keypoints=keypoints,
        keypoint_scores=np.full((1, points), score, np.float32),
    )


def canvas(size=200):
    return np.full((size, size, 3), GREY, np.uint8)


def painted(drawn):
    return (drawn != GREY).any(axis=2)


@pytest.mark.parametrize("points", [133, 17, 14, 21])
def test_every_point_is_visible(points):
    poses = one_person(points)
    drawn = painted(draw_poses(canvas(), poses))
    x, y = poses.keypoints[0].round().astype(int).T
    assert drawn[y, x].all()


@pytest.mark.parametrize("points", [133, 17, 14])
def test_every_edge_is_visible(points):
    poses = one_person(points)
    drawn = painted(draw_poses(canvas(), poses))
    for a, b in poses.keypoint_set.edges:
        x, y = poses.keypoints[0, [a, b]].mean(axis=0).round().astype(int)
        assert drawn[y - 1 : y + 2, x - 1 : x + 2].any()


def test_the_picture_itself_is_left_alone():
    image_bgr = canvas()
    draw_poses(image_bgr, one_person(17))
    assert (image_bgr == GREY).all()


def test_unclear_points_are_left_out():
    assert not painted(draw_poses(canvas(), one_person(133, score=0.29))).any()
    assert painted(draw_poses(canvas(), one_person(133, score=0.29), threshold=0.2)).any()


def test_sides_differ_in_colour():
    poses = one_person(17)
    names = poses.keypoint_set.names
    poses.keypoints[0] = np.linspace([10, 10], [190, 190], 17)
    poses.keypoint_scores[:] = 0
    poses.keypoint_scores[0, [names.index("left_wrist"), names.index("right_wrist")]] = 1
    drawn = draw_poses(canvas(), poses)
    left, right = (
        drawn[tuple(poses.keypoints[0, names.index(f"{side}_wrist")].round().astype(int)[::-1])]
        for side in ("left", "right")
    )
    assert left[0] > left[2]
    assert right[2] > right[0]


def test_parts_differ_in_colour():
    known = keypoint_sets()["coco_wholebody"]
    poses = one_person(133)
    poses.keypoints[0] = 5000  # outside
    rows = [known.names.index(name) for name in ("left_wrist", "left_heel", "left_thumb2")]
    poses.keypoints[0, rows] = [[50, 50], [100, 100], [150, 150]]
    drawn = draw_poses(canvas(), poses)
    assert len({tuple(drawn[place, place]) for place in (50, 100, 150)}) == 3


def test_lines_grow_with_the_person():
    areas = [painted(draw_poses(canvas(800), one_person(17, size))).sum() / size for size in (50.0, 200.0, 800.0)]
    assert areas[0] < areas[1] < areas[2]


def test_points_far_outside_and_not_finite_do_no_harm():
    poses = one_person(133)
    poses.keypoints[0, ::3] = [1e30, -1e30]
    poses.keypoints[0, 1::3] = np.nan
    assert painted(draw_poses(canvas(), poses)).any()


def test_nobody_leaves_the_picture_as_it_is():
    poses = one_person(133).select(2.0)
    assert not painted(draw_poses(canvas(), poses)).any()


def test_without_opencv_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ModuleNotFoundError, match=r"cigpose-client\[draw\]"):
        draw_poses(canvas(), one_person(17))
