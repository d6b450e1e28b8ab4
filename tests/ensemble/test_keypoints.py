import json
from dataclasses import replace

import pytest

from ensemble.keypoints import keypoint_set, keypoint_set_of_length, keypoint_sets, sets

COUNTS = {"coco_wholebody": (133, 65), "coco": (17, 19), "crowdpose": (14, 15), "human36m": (17, 16)}


def test_the_sets_exist():
    assert {name: (len(s), len(s.edges)) for name, s in keypoint_sets().items()} == COUNTS


@pytest.mark.parametrize("name", COUNTS)
def test_flip_pairs_swap_sides_and_undo_themselves(name):
    points = keypoint_set(name)
    opposite = {"left": "right", "right": "left", "center": "center"}
    for index, flipped in enumerate(points.flip_indices):
        assert points.flip_indices[flipped] == index
        assert points.sides[flipped] == opposite[points.sides[index]]
        assert points.names[index].startswith("face") or points.sides[index] in (
            *points.names[index].split("_"),
            "center",
        )


@pytest.mark.parametrize("name", COUNTS)
def test_edges_and_sigmas_are_sound(name):
    points = keypoint_set(name)
    assert all(a != b for a, b in points.edges)
    assert len({frozenset(edge) for edge in points.edges}) == len(points.edges)
    assert len(points.sigmas) == (len(points) if points.dimensions == 2 else 0)
    assert all(sigma > 0 for sigma in points.sigmas)
    assert sorted(i for first, end in points.parts.values() for i in range(first, end)) == list(range(len(points)))


def test_the_number_of_points_identifies_the_set():
    assert [keypoint_set_of_length(count).name for count in (133, 17, 14)] == list(COUNTS)[:3]
    with pytest.raises(ValueError, match=r"known: 133 \(coco_wholebody\), 17 \(coco\), 14 \(crowdpose\)$"):
        keypoint_set_of_length(26)
    with pytest.raises(
        ValueError, match="unknown keypoint set 'halpe'; known: coco_wholebody, coco, crowdpose, human36m"
    ):
        keypoint_set("halpe")


def test_the_sets_equal_the_official_tables(shared):
    for count, table in json.loads((shared / "reference" / "cigpose_tables.json").read_text()).items():
        points = keypoint_set_of_length(int(count))
        assert points.name == table["dataset"]
        assert list(points.names) == table["names"]
        assert list(points.flip_indices) == table["flip"]
        assert list(points.sigmas) == table["sigmas"]
        assert [list(edge) for edge in points.edges] == table["skeleton"]


def test_lookup_by_length_finds_2d_sets_only(monkeypatch):
    coco = keypoint_set("coco")
    known = {"space": replace(coco, name="space", dimensions=3), "coco": coco}
    monkeypatch.setattr(sets, "keypoint_sets", lambda: known)
    assert keypoint_set_of_length(17).name == "coco"
    assert keypoint_set("space").dimensions == 3


def test_human36m_is_a_tree_from_the_root():
    """Order and parents of VideoPose3D's skeleton of 17 joints."""
    points = keypoint_set("human36m")
    parents = [-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15]
    assert points.dimensions == 3
    assert sorted(points.edges) == sorted((parent, joint) for joint, parent in enumerate(parents) if parent >= 0)
    assert [points.flip_indices[joint] for joint in (4, 5, 6, 11, 12, 13)] == [1, 2, 3, 14, 15, 16]
