"""Measures of keypoints on films: OKS, shaking at rest, and lag in motion."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from cigpose_client import Poses, keypoint_sets
from cigpose_client.streams.association import assign, overlaps
from numpy.typing import NDArray

from synthetic.films import FilmFrame
from synthetic.scene import Person

Array = NDArray[np.float64]

_SIGMAS = np.array(keypoint_sets()["coco_wholebody"].sigmas)
_SAME_IOU = 0.5
_FAST = 0.5  # sizes of the person per second, from which on a keypoint counts as moving


@dataclass(frozen=True)
class Quality:
    """Measures of the answers to one film.

    Attributes:
        oks: mean OKS of the visible keypoints of the people found.
        found: number of people found, over all frames.
        people: number of people who can be seen, over all frames.
        acceleration: mean length of the second difference of visible keypoints over three frames, in sizes.
        lag_frames: delay of moving keypoints in frames; nan if nothing moves.
    """

    oks: float
    found: int
    people: int
    acceleration: float
    lag_frames: float


def quality(frames: Iterable[FilmFrame], answers: Iterable[Poses], rate: float) -> Quality:
    """Compare the answers to the frames of a film with the truth.

    Args:
        frames: of the film.
        answers: 133 keypoints, or the first ones of these: COCO's 17.
        rate: frames per second.
    """
    frames = list(frames)
    people = _by_person(frames, answers)
    oks = [_oks(row) for rows in people.values() for row in rows]
    bends, late, moved = [np.zeros(0)], 0.0, 0.0
    for before, now, after in _triples(people, 2.1 / rate):
        visible = _visible(before) & _visible(now) & _visible(after)
        size = np.sqrt(now[1].area)
        bends.append(np.linalg.norm(before[2] - 2 * now[2] + after[2], axis=1)[visible] / size)
        velocity = (_truth(after) - _truth(before)) / (after[0] - before[0])
        fast = visible & (np.linalg.norm(velocity, axis=1) > _FAST * size)
        late -= float(((now[2] - _truth(now)) * velocity)[fast].sum() / size**2)
        moved += float((velocity**2)[fast].sum() / size**2)
    lag = late / moved * rate if moved else np.nan
    seen = sum(len(frame.people) for frame in frames)
    return Quality(float(np.mean(oks)), len(oks), seen, float(np.concatenate(bends).mean()), lag)


_Row = tuple[float, Person, Array]


def _by_person(frames: Iterable[FilmFrame], answers: Iterable[Poses]) -> dict[int, list[_Row]]:
    """Return for each person of the film: times, truth and answered keypoints (K, 2) of the frames where found."""
    people: dict[int, list[_Row]] = {}
    for frame, poses in zip(frames, answers, strict=True):
        truth = np.array([each.person.bbox_xyxy for each in frame.people]).reshape(-1, 4)
        for row, column in zip(*assign(overlaps(truth, poses.bboxes.astype(np.float64)), _SAME_IOU), strict=True):
            each = frame.people[row]
            points = poses.keypoints[column].astype(np.float64)
            people.setdefault(each.track_id, []).append((frame.time_s, each.person, points))
    return people


def _truth(row: _Row) -> Array:
    """Return the true places (K, 2) of the answered keypoints."""
    return row[1].points[: len(row[2])]


def _visible(row: _Row) -> NDArray[np.bool_]:
    return np.asarray(row[1].visible[: len(row[2])] == 2)


def _oks(row: _Row) -> float:
    visible = _visible(row)
    square = ((row[2] - _truth(row)) ** 2).sum(axis=1)[visible]
    sigmas = _SIGMAS[: len(visible)][visible]
    return float(np.exp(-square / (2 * (2 * sigmas) ** 2 * row[1].area)).mean()) if visible.any() else 0.0


def _triples(people: dict[int, list[_Row]], longest_s: float) -> Iterator[tuple[_Row, _Row, _Row]]:
    rows: Sequence[_Row]
    for rows in people.values():
        for triple in zip(rows, rows[1:], rows[2:], strict=False):
            if triple[2][0] - triple[0][0] <= longest_s:
                yield triple
