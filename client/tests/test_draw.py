import itertools
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from cigpose_client import DrawOptions, Poses, draw_poses, keypoint_sets
from cigpose_client.__main__ import main

GREY = 120
DEFAULT = DrawOptions()


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
def test_every_keypoint_is_visible(points):
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


def test_a_named_set_decides_over_the_number_of_keypoints():
    """Without a skeleton, only the dots are drawn."""
    poses = one_person(17)
    dots = draw_poses(canvas(), replace(poses, set_name="another_with_17"))
    assert painted(dots).sum() < painted(draw_poses(canvas(), poses)).sum()
    np.testing.assert_array_equal(draw_poses(canvas(), replace(poses, set_name="coco")), draw_poses(canvas(), poses))


def test_draw_poses_copies_the_picture():
    image_bgr = canvas()
    draw_poses(image_bgr, one_person(17))
    assert (image_bgr == GREY).all()


def test_unclear_keypoints_are_not_drawn():
    assert not painted(draw_poses(canvas(), one_person(133, score=0.29))).any()
    assert painted(draw_poses(canvas(), one_person(133, score=0.29), threshold=0.2)).any()


def test_the_third_argument_is_the_threshold():
    """It replaces the threshold of the options."""
    poses = one_person(133, score=0.29)
    assert painted(draw_poses(canvas(), poses, 0.2)).any()
    assert painted(draw_poses(canvas(), poses, options=DrawOptions(threshold=0.2))).any()
    assert not painted(draw_poses(canvas(), poses, 0.3, DrawOptions(threshold=0.2))).any()


def rows_of(*names):
    parts = keypoint_sets()["coco_wholebody"].parts
    return [row for name in names for row in range(*parts[name])]


@pytest.mark.parametrize(
    ("part", "names"),
    [("body", ["body"]), ("hands", ["left_hand", "right_hand"]), ("face", ["face"]), ("feet", ["foot"])],
)
def test_a_single_part_is_drawn_at_its_keypoints(part, names):
    poses = one_person(133)
    poses.keypoints[0] = np.stack([np.arange(133) * 5 + 20, np.full(133, 30)], axis=1)  # 5 pixels apart
    poses.keypoints[0, rows_of(*names), 1] = 70
    picture = np.full((100, 700, 3), GREY, np.uint8)
    everything = painted(draw_poses(picture, poses))
    alone = painted(draw_poses(picture, poses, options=DrawOptions(parts=(part,))))
    x, y = poses.keypoints[0, rows_of(*names)].round().astype(int).T
    assert alone[y, x].all()
    others = np.setdiff1d(np.arange(133), rows_of(*names))
    x, y = poses.keypoints[0, others].round().astype(int).T
    assert everything[y, x].all()
    assert not alone[y, x].all()
    assert not (alone & ~everything).any()


def test_all_parts_are_the_default():
    poses = one_person(133)
    together = draw_poses(canvas(), poses, options=DrawOptions(parts=["face", "feet", "hands", "body"]))
    np.testing.assert_array_equal(together, draw_poses(canvas(), poses))


def test_other_keypoint_sets_are_bodies():
    for points in (17, 14, 21):
        assert painted(draw_poses(canvas(), one_person(points), options=DrawOptions(parts=("body",)))).any()
        assert not painted(draw_poses(canvas(), one_person(points), options=DrawOptions(parts=("hands", "face")))).any()


def test_a_box_is_drawn_on_request():
    poses = one_person(17, score=0.0)
    poses.bboxes[0] = [20, 40, 160, 180]
    assert not painted(draw_poses(canvas(), poses)).any()
    drawn = painted(draw_poses(canvas(), poses, options=DrawOptions(boxes=True)))
    assert drawn[40, 20:161].all()
    assert drawn[180, 20:161].all()
    assert drawn[40:181, 20].all()
    assert drawn[40:181, 160].all()
    assert not drawn[50:170, 30:150].any()


def test_the_line_width_is_in_pixels_of_the_bodys_lines():
    poses = one_person(17)
    poses.keypoint_scores[:] = 0
    rows = [poses.keypoint_names.index(name) for name in ("left_shoulder", "left_elbow")]
    poses.keypoints[0, rows], poses.keypoint_scores[0, rows] = [[20, 100], [180, 100]], 1

    def width(pixels):
        drawn = draw_poses(canvas(), poses, options=DrawOptions(line_width=pixels))
        return (drawn[:, 100].max(axis=1) > 200).sum()  # without the rim

    assert [width(pixels) for pixels in (1, 5, 9)] == pytest.approx([1, 5, 9], abs=2)  # OpenCV smooths edges


def labelled(options=DEFAULT, labels=None, box=(60, 80, 160, 180), count=1):
    poses = one_person(17, score=0.0).take([0] * count)
    poses.bboxes[:] = box
    poses.bbox_scores[:] = 0.87
    return draw_poses(canvas(), poses, options=options, labels=labels)


def test_a_label_is_written_above_the_box():
    drawn = painted(labelled(DrawOptions(labels="score")))
    y, x = np.nonzero(drawn)
    assert 60 <= y.min() <= y.max() < 80
    assert 60 == x.min() < x.max() < 110


@pytest.mark.parametrize(
    "box", [(60, 0, 160, 100), (190, 80, 260, 180), (-500, -500, -400, -400), (900, 900, 950, 950)]
)
def test_a_label_is_never_off_the_picture(box):
    full = painted(labelled(DrawOptions(labels="score"))).sum()
    assert painted(labelled(DrawOptions(labels="score"), box=box)).sum() == full


def test_labels_show_the_requested_text():
    score, index = (labelled(DrawOptions(labels=labels)) for labels in ("score", "index"))
    np.testing.assert_array_equal(score, labelled(labels=["0.87"]))
    np.testing.assert_array_equal(index, labelled(labels=["0"]))
    assert not np.array_equal(score, index)
    np.testing.assert_array_equal(labelled(DrawOptions(labels="score"), labels=["id 7"]), labelled(labels=["id 7"]))
    assert not painted(labelled()).any()
    assert not painted(labelled(labels=[""])).any()


def test_each_person_has_its_own_number():
    numbers = DrawOptions(labels="index")
    assert not np.array_equal(labelled(numbers, count=1), labelled(numbers, count=2))


def test_there_is_a_label_for_each_person():
    with pytest.raises(ValueError, match="labels: 1 texts for 2 people; give one for each"):
        labelled(labels=["a"], count=2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"parts": ("body", "hand")}, r"parts \('body', 'hand'\): give one or more of body, hands, face, feet"),
        ({"parts": ()}, "one or more of body"),
        ({"parts": "body"}, "as a tuple"),
        ({"labels": "name"}, "labels 'name': give one of none, index, score"),
        ({"line_width": 0}, "line_width 0: give pixels above 0"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        DrawOptions(**options)


OPTIONS = ["--threshold 2 --draw-boxes", "--threshold 2 --labels index", "--line-width 9", "--parts hands,face"]


@pytest.fixture
def drawn_by_command(server, tmp_path, capsys):
    """Return a function that draws by the command and returns the picture, or the first frame."""
    cv2.imwrite(str(tmp_path / "photo.png"), canvas(256))
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5.0, (256, 256))
    writer.write(canvas(256))
    writer.release()

    def drawn(command, options):
        source, target = {
            "image": ("photo.png", "drawn.png"),
            "video": ("clip.avi", "drawn.avi"),
            "camera": ("clip.avi", "drawn.avi"),
        }[command]
        argv = [command, str(tmp_path / source), "--output", str(tmp_path / target), *options.split()]
        assert main([*argv, "--url", server.url, "--json", str(tmp_path / "people.json")]) == 0
        if command in ("video", "camera"):
            return cv2.VideoCapture(str(tmp_path / target)).read()[1]
        return cv2.imread(str(tmp_path / target))

    return drawn


@pytest.mark.parametrize("command", ["image", "video", "camera"])
def test_each_option_of_the_command_shows(drawn_by_command, command):
    nothing, everything = (drawn_by_command(command, f"--threshold {score}") for score in (2, 0))
    pictures = [nothing, everything, *(drawn_by_command(command, options) for options in OPTIONS)]
    for a, b in itertools.combinations(pictures, 2):
        assert np.abs(a.astype(int) - b).max() > 60


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


def test_drawing_survives_extreme_keypoints():
    poses = one_person(133)
    poses.keypoints[0, ::3] = [1e30, -1e30]
    poses.keypoints[0, 1::3] = np.nan
    assert painted(draw_poses(canvas(), poses)).any()


def test_no_people_leave_the_picture_unchanged():
    poses = one_person(133).select(2.0)
    assert not painted(draw_poses(canvas(), poses)).any()


def test_without_opencv_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ModuleNotFoundError, match=r"cigpose-client\[draw\]"):
        draw_poses(canvas(), one_person(17))
