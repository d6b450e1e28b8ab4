"""Films with truth, and the ids of streams on their detections."""

import hashlib

import numpy as np
import pytest

from synthetic.effects import decode
from synthetic.film_accuracy import id_score, id_switches, tracked
from synthetic.film_detections import detections
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


def test_scores_of_ids():
    boxes = np.array([[0.0, 0, 10, 10], [50, 0, 60, 10]])
    truth = [(np.array([1, 2]), boxes)] * 4
    same = [(np.array([7, 9]), boxes)] * 4
    swapped = [*same[:2], *[(np.array([9, 7]), boxes)] * 2]
    assert (id_switches(truth, same), id_score(truth, same)) == (0, 1.0)
    assert (id_switches(truth, swapped), id_score(truth, swapped)) == (2, 0.5)
    assert id_score(truth, [(np.array([7]), boxes[:1])] * 4) == pytest.approx(2 * 4 / 12)


@pytest.mark.parametrize(
    ("kind", "switches", "score"), [("crossing", 1, 0.884), ("hiding", 7, 0.771), ("leaving", 4, 0.829)]
)
def test_ids_last_on_films(kind, switches, score):
    """Half of the switches, and the IDF1, of ByteTrack (trackers 2.6.1) on the same detections."""
    films = [sample_film(seed, kind, dropped=0.2 * (seed % 2)) for seed in FILMS[10:16]]
    count, scores = 0, []
    for film in films:
        frames = detections(film)
        truth = [(frame.track_ids, frame.bboxes) for frame in frames]
        answers = [(poses.track_ids, poses.bboxes) for poses in tracked(frames)]
        count += id_switches(truth, answers)
        scores.append(id_score(truth, answers))
    assert count <= switches
    assert np.mean(scores) >= score
