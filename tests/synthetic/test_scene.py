import itertools

import numpy as np
import pytest

from synthetic.annotations import annotated_visibility, annotations, part_valid
from synthetic.body import pose_body, sample_build
from synthetic.camera import View, view_rotation
from synthetic.effects import decode
from synthetic.layer import Layer
from synthetic.looks import sample_looks
from synthetic.paint_figure import own_visibility, paint_figure
from synthetic.posture import sample_posture
from synthetic.scene import Scene, render_scene
from synthetic.seeds import DEMO, GATE, TRAIN


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [render_scene(seed) for seed in range(5_000, 5_030)]


def test_same_seed_gives_the_same_bytes(scenes: list[Scene]) -> None:
    again = render_scene(5_003)
    assert again.jpeg == scenes[3].jpeg
    assert annotations([(1, again)]) == annotations([(1, scenes[3])])
    assert len({scene.jpeg for scene in scenes}) == len(scenes)


def test_pictures_have_the_stated_size(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert decode(scene.jpeg).shape[1::-1] == scene.size


def test_scenes_hold_none_one_and_many(scenes: list[Scene]) -> None:
    counts = [len(scene.people) for scene in scenes]
    assert 1 in counts and max(counts) >= 5
    assert not render_scene(1, people=0).people


def test_seen_points_lie_in_the_box_and_in_the_picture(scenes: list[Scene]) -> None:
    for scene in scenes:
        for person in scene.people:
            seen = person.points[person.visible == 2]
            slack = 0.06 * (person.bbox_xyxy[2:] - person.bbox_xyxy[:2]).max() + 2  # points may lie just off the paint
            assert (seen >= person.bbox_xyxy[:2] - slack).all()
            assert (seen <= person.bbox_xyxy[2:] + slack).all()
            annotated = person.points[annotated_visibility(person) > 0]
            assert (annotated >= 0).all() and (annotated < scene.size).all()


def test_areas_and_boxes_agree(scenes: list[Scene]) -> None:
    for scene in scenes:
        for person in scene.people:
            sides = person.bbox_xyxy[2:] - person.bbox_xyxy[:2]
            assert 0.01 * sides.prod() < person.area <= sides.prod()
            assert (person.bbox_xyxy[:2] >= 0).all() and (person.bbox_xyxy[2:] <= scene.size).all()


def test_annotation_has_the_form_of_coco_wholebody(scenes: list[Scene]) -> None:
    scene = next(scene for scene in scenes if scene.people)
    truth = annotations([(7, scene)])
    assert truth.images == [{"id": 7, "width": scene.size[0], "height": scene.size[1]}]
    entry = truth.people[0]
    assert entry["image_id"] == 7 and entry["area"] == scene.people[0].area
    assert entry["bbox"][2:] == (scene.people[0].bbox_xyxy[2:] - scene.people[0].bbox_xyxy[:2]).tolist()
    lengths = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
    assert {field: len(entry[field]) // 3 for field in lengths} == lengths
    assert {value for field in lengths for value in entry[field][2::3]} <= {0.0, 1.0, 2.0}


def test_invalid_parts_carry_no_points(scenes: list[Scene]) -> None:
    people = [person for scene in scenes for person in scene.people]
    entries = annotations(enumerate(scenes)).people
    flags = [
        (part_valid(person, part), entry[field])
        for person, entry in zip(people, entries, strict=True)
        for part, field in (("face", "face_kpts"), ("left_hand", "lefthand_kpts"))
    ]
    assert {flag for flag, _ in flags} == {True, False}
    assert not any(any(points) for flag, points in flags if not flag)


@pytest.mark.parametrize(("yaw", "left_is_right_in_the_picture", "face"), [(0.0, True, True), (np.pi, False, False)])
def test_sides_and_face_show_the_direction(yaw: float, left_is_right_in_the_picture: bool, face: bool) -> None:
    rng = np.random.default_rng(4)
    posture = sample_posture(rng)
    posture.neck[:], posture.spine[:], posture.tilt[:] = 0, 0, 0
    posture.arms[:] = (0, 25, 0, 10, 0)
    body = pose_body(sample_build(rng), posture)
    view = View(view_rotation(yaw, 0.0), 300.0, np.array((200.0, 250.0)), 8.0)
    layer = Layer((400, 500), np.zeros(2), 1.0)
    paint_figure(layer, body, view, sample_looks(rng))
    pixels, visible = view.project(body.points)[0], own_visibility(layer, body, view)
    assert (pixels[5, 0] > pixels[6, 0]) == left_is_right_in_the_picture
    assert visible[[0, 1, 2]].all() == face
    assert visible[23:91].mean() > 0.9 if face else visible[23:91].mean() < 0.2


def test_seeds_are_disjoint() -> None:
    ranges = sorted((set_.start, set_.stop) for set_ in (GATE, DEMO, TRAIN))
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(ranges))
