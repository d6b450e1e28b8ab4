"""Films with truth, and the ids of streams on their detections."""

import hashlib
import json

import numpy as np
import pytest
from cigpose_client import Poses

from synthetic.effects import decode
from synthetic.film_accuracy import KINDS as IDS
from synthetic.film_accuracy import OWN_IDS, PYTHON, RATE, RECORD, compared, films, tracked, with_own_ids
from synthetic.film_detections import Detected, detections
from synthetic.films import KINDS, SIZE, sample_film
from synthetic.seeds import FILMS


@pytest.mark.parametrize("kind", KINDS)
def test_a_film_is_reproducible_and_holds_its_truth(kind):
    film = sample_film(FILMS[0], kind, rate=1.0, seconds=3.0)
    frames, again = list(film.frames()), list(film.frames())
    assert [frame.time_s for frame in frames] == [0.0, 1.0, 2.0]
    for frame, other in zip(frames, again, strict=True):
        assert hashlib.sha256(frame.jpeg).digest() == hashlib.sha256(other.jpeg).digest()
        assert decode(frame.jpeg).shape == (*SIZE[::-1], 3)
        outlines = dict(film.outlines(frame.time_s))
        for tracked_person in frame.people:
            np.testing.assert_allclose(tracked_person.person.points, outlines[tracked_person.track_id])
            assert 0.1 <= tracked_person.share <= 1


def test_people_at_rest_are_exactly_at_rest():
    film = sample_film(FILMS[1], "still")
    for (_, first), (_, last) in zip(film.outlines(0.0), film.outlines(3.3), strict=True):
        np.testing.assert_array_equal(first, last)


def test_a_dropped_frame_changes_no_other():
    whole, some = sample_film(FILMS[2], "hiding"), sample_film(FILMS[2], "hiding", dropped=0.3)
    assert 0.5 * len(whole.times) < len(some.times) < 0.9 * len(whole.times)
    assert set(some.times) < set(whole.times)
    for (_, points), (_, others) in zip(whole.outlines(1.0), some.outlines(1.0), strict=True):
        np.testing.assert_array_equal(points, others)


@pytest.fixture(scope="module")
def ids():
    """Return `compared`, or skip."""
    if not PYTHON.exists():
        pytest.skip("the package `trackers` is not installed: run `make trackers`")
    return lambda **sets: compared(sets)["sets"]


TRUTH, BOXES = np.array([1, 2]), np.array([[0.0, 0, 20, 20], [50, 0, 70, 20]])
POINTS = np.repeat([[[10.0, 10]], [[60, 10]]], 17, axis=1)


def film_of(*answers):
    """Return a film of two people at rest; each answer is their ids, and whose keypoints are in which box."""
    frames = []
    for number, (ids, owners) in enumerate(answers):
        poses = Poses(BOXES, np.ones(2), 2, POINTS[owners], np.ones((2, 17)), "coco", track_ids=np.array(ids))
        frames.append(Detected(0.1 * number, TRUTH, BOXES, POINTS, np.ones((2, 17), bool), poses))
    return frames


def test_ids_of_streams_are_measured(ids):
    same, swapped = ([7, 9], [0, 1]), ([9, 7], [0, 1])
    crossed = film_of(same, same, ([7, 9], [1, 0]), ([7, 9], [1, 0]))
    films = {"same": film_of(*[same] * 4), "swapped": film_of(same, same, swapped, swapped), "crossed": crossed}
    films |= {"keypoints' own": with_own_ids(crossed, 0.4), "boxes' own": with_own_ids(crossed, 0.6)}
    rows = ids(**{name: [(10.0, frames)] for name, frames in films.items()})
    perfect = {"hota": 1.0, "idf1": 1.0, "mota": 1.0, "switches": 0, "switches_by_keypoints": 0}
    assert rows["same"]["stream"] == perfect
    assert rows["swapped"]["stream"] == {
        "hota": 0.5774,  # root of 2 / 6
        "idf1": 0.5,
        "mota": 0.75,
        "switches": 2,
        "switches_by_keypoints": 2,
    }
    assert rows["swapped"]["ByteTrack"] == rows["same"]["ByteTrack"]
    assert rows["same"]["ByteTrack, all detections"]["switches"] == 0
    # the keypoints in the boxes change places: ids follow the boxes, or the keypoints
    for row in (rows["crossed"]["stream"], rows["crossed"]["ByteTrack, all detections"]):
        assert (row["switches"], row["switches_by_keypoints"]) == (0, 2)
    for name, switches in {"keypoints' own": (2, 0), "boxes' own": (0, 2)}.items():
        assert (rows[name]["stream"]["switches"], rows[name]["stream"]["switches_by_keypoints"]) == switches


def test_ids_last_longer_than_those_of_bytetrack(ids):
    """On the same detections: no worse HOTA and IDF1 than ByteTrack, and at most half of its switches."""
    sets = {kind: [(RATE, tracked(detections(film))) for film in films(6, kind)] for kind in IDS}
    for kind, rows in ids(**sets).items():
        stream = rows.pop("stream")
        assert len(rows) == 2
        for other in rows.values():
            assert 2 * stream["switches"] <= other["switches"], kind
            assert all(stream[name] >= other[name] for name in ("hota", "idf1", "mota")), kind


def test_the_record_of_ids_is_that_of_the_locked_package():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    locked = (RECORD.parents[1] / "requirements" / "trackers.txt").read_text(encoding="utf-8")
    assert f"trackers=={record['trackers']} " in locked


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("source", ["simulated", "networks"])
def test_the_recorded_ids_are_no_worse_than_those_of_bytetrack(source, kind):
    """At most half of the switches, except with the small networks' answers where people cross or leave."""
    rows = json.loads(RECORD.read_text(encoding="utf-8"))["sets"][f"{source}, {kind}"]
    rows = {name: row for name, row in rows.items() if name not in OWN_IDS}
    stream, share = rows.pop("stream"), 2 if source == "simulated" or kind == "hiding" else 1
    for other in rows.values():
        assert all(stream[name] >= other[name] for name in ("hota", "idf1", "mota"))
        assert share * stream["switches"] <= other["switches"]
