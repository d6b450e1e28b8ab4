"""Which person of an answer is which of the stream."""

from dataclasses import dataclass

import numpy as np

from cigpose_client._poses import Poses
from cigpose_client.streams import appearance, association
from cigpose_client.streams.appearance import Looks
from cigpose_client.streams.association import Array, Rows
from cigpose_client.streams.smoothing import score_weights
from cigpose_client.streams.tracks import Tracks, body, sigmas

_LEAST = 0.25  # similarity of a person and a track that may be the same
_EPSILON = 1e-3  # above 0, of a pair that geometry allows
_LOOKS = 0.6  # weight of appearance beside IoU and OKS
_LOOKS_LOST = 0.6  # beside the distance of a lost person, below 1
_SECOND = 0.3  # loss of similarity for the lower score of two detections with the same keypoints
_TOLERANCE = 2.0  # of OKS, in COCO's
_TOLERANCE_PER_S = 2.0  # its growth out of sight, up to one second
_REACH = 0.5  # distance from the place of a lost person, in sizes
_REACH_PER_S = 0.7  # its growth out of sight
_REACH_LIMIT = 1.5
_GROWTH = 1.6  # ratio of the sizes of a lost person before and after
_TWINS = 0.7  # OKS from which on two answers show the same person
_APART = 0.5  # OKS below which they were two people at the detection


@dataclass(frozen=True, eq=False)
class Match:
    """Pairs of a known person and one of the answer: rows of the tracks and of the poses, both (M,)."""

    tracks: Rows
    people: Rows


def associate(tracks: Tracks | None, visible: int, poses: Poses, seen: Looks, time_s: float) -> Match:
    """Return the best association of the people of a detection with the known ones.

    IoU and OKS with the expected place at `time_s`, and appearance, decide first. Distance and appearance decide about
    the rest.

    Args:
        tracks: the known people; None for nobody.
        visible: number of those of the last frame; they come first.
        poses: the answer.
        seen: the appearance of its people.
        time_s: its time.
    """
    if tracks is None or not len(tracks) or not len(poses):
        return Match(np.zeros(0, np.intp), np.zeros(0, np.intp))
    looks_like, near = appearance.alike(tracks.colours, tracks.colour_weights, seen), _nearness(tracks, poses, time_s)
    rows, people = _best(tracks, visible, poses, looks_like, near, time_s)
    lost = np.setdiff1d(np.arange(len(tracks)), rows)
    left = np.setdiff1d(np.arange(len(poses)), people)
    again, found = association.assign((near + _LOOKS_LOST * looks_like)[np.ix_(lost, left)], 0.0)
    return Match(np.concatenate([rows, lost[again]]), np.concatenate([people, left[found]]))


def found_by_boxes(tracks: Tracks, poses: Poses, seen: Looks, time_s: float, score_fall: float) -> Match | None:
    """Return the association of all tracks with the answers to their boxes, or None if somebody is missing.

    A person is missing in three cases: no answer resembles the track, the mean keypoint score is below `score_fall`
    times that of the last detection, or two tracks have the same keypoints.
    """
    looks_like, near = appearance.alike(tracks.colours, tracks.colour_weights, seen), _nearness(tracks, poses, time_s)
    rows, people = _best(tracks, len(tracks), poses, looks_like, near, time_s)
    if len(rows) < len(tracks):
        return None
    scores = np.maximum(poses.keypoint_scores, 0).mean(axis=1)[people]
    before = np.maximum(tracks.detected_scores, 0).mean(axis=1)[rows]
    if (scores < score_fall * before).any() or _new_twins(tracks.take(rows), poses.take(people)):
        return None
    return Match(rows, people)


def _best(
    tracks: Tracks, visible: int, poses: Poses, looks_like: Array, near: Array, time_s: float
) -> tuple[Rows, Rows]:
    """Return the rows and columns of the best pairs; appearance decides between those that geometry allows.

    A lost person who looks alike also competes where only the distance fits: somebody in front of others, with whom the
    id of another one would go on.

    Args:
        tracks: T known people.
        visible: number of those of the last frame; they come first.
        poses: N people of the answer.
        looks_like: (T, N) of `appearance.alike`.
        near: (T, N) of `_nearness`.
        time_s: time of the answer.
    """
    likely = likeness(tracks, poses, time_s)
    lost = np.arange(len(tracks))[:, None] >= visible
    fits = likely >= _LEAST
    returns = ~fits & lost & (near >= 0) & (looks_like > 0)
    score = np.where(fits, likely, _LEAST * near) + _LOOKS * looks_like - _SECOND * _second(poses)
    return association.assign(np.where(fits | returns, np.maximum(score, _EPSILON), 0.0), _EPSILON)


def _second(poses: Poses) -> Array:
    """Return (N,): 1 for whom a detection with a higher score has the same keypoints, 0 for others."""
    rows = body(poses)
    scores = poses.keypoint_scores.astype(np.float64)[:, rows]
    boxes, keypoints = poses.bboxes.astype(np.float64), poses.keypoints[:, rows].astype(np.float64)
    same = _to_each_other(keypoints, scores, boxes, sigmas(poses)[rows]) > _TWINS
    better = poses.bbox_scores[None] > poses.bbox_scores[:, None]
    return np.asarray((same & better).any(axis=1), np.float64)


def likeness(tracks: Tracks, poses: Poses, time_s: float) -> Array:
    """Return (T, N): the mean of IoU and OKS with the people where they should be at `time_s`."""
    boxes, keypoints = tracks.moved(time_s)
    rows = body(poses)
    age_s = np.maximum(time_s - tracks.seen_s, 0)
    loose = association.sizes(boxes) * (_TOLERANCE + _TOLERANCE_PER_S * np.minimum(age_s, 1.0))
    alike = association.oks(
        keypoints[:, rows],
        poses.keypoints[:, rows].astype(np.float64),
        score_weights(tracks.scores)[:, rows],
        score_weights(poses.keypoint_scores.astype(np.float64))[:, rows],
        2 * loose[:, None] * sigmas(poses)[None, rows],
    )
    return np.asarray((alike + association.overlaps(boxes, poses.bboxes.astype(np.float64))) / 2)


def _nearness(tracks: Tracks, poses: Poses, time_s: float) -> Array:
    """Return (T, N): 1 where a lost person was last seen or should be now, falling to 0 and below out of reach."""
    found = poses.bboxes.astype(np.float64)
    size, other = association.sizes(tracks.bboxes), association.sizes(found)
    places = (association.centers(tracks.moved(time_s)[0]), association.centers(tracks.bboxes))
    apart = [np.linalg.norm(place[:, None] - association.centers(found)[None], axis=2) for place in places]
    reach = size * np.minimum(_REACH + _REACH_PER_S * np.maximum(time_s - tracks.seen_s, 0), _REACH_LIMIT)
    ratio = other[None] / size[:, None]
    fits = np.maximum(ratio, 1 / ratio) <= _GROWTH
    return np.where(fits, 1 - np.minimum(*apart) / reach[:, None], -1.0)


def _new_twins(tracks: Tracks, poses: Poses) -> bool:
    """Return whether two people have the same keypoints who had not at the detection; rows correspond."""
    if len(poses) < 2:
        return False
    rows, sigma = body(poses), sigmas(poses)[body(poses)]
    scores = poses.keypoint_scores.astype(np.float64)[:, rows]
    now = _to_each_other(poses.keypoints[:, rows].astype(np.float64), scores, tracks.bboxes, sigma)
    if now.max() <= _TWINS:
        return False
    detected = tracks.detected_keypoints[:, rows], tracks.detected_scores[:, rows], tracks.detected_bboxes
    return bool(((now > _TWINS) & (_to_each_other(*detected, sigma) < _APART)).any())


def _to_each_other(keypoints: Array, scores: Array, bboxes_xyxy: Array, sigma: Array) -> Array:
    """Return the (N, N) OKS of N people to each other; 0 to themselves."""
    weights, size = score_weights(scores), association.sizes(bboxes_xyxy)
    alike = association.oks(keypoints, keypoints, weights, weights, 2 * size[:, None] * sigma[None])
    return alike * (1 - np.eye(len(keypoints)))
