"""One frame of a stream: which requests to send, and the state after their answers. No I/O."""

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt

from cigpose_client._errors import ModelNotReady
from cigpose_client._image import Image
from cigpose_client._poses import FloatArray, Poses
from cigpose_client._retry import Call
from cigpose_client.streams import motion
from cigpose_client.streams.appearance import Looks, Pixels, learned, looks, pixels_of
from cigpose_client.streams.association import Array, Rows, sizes
from cigpose_client.streams.matching import Match, associate, found_by_boxes
from cigpose_client.streams.options import Smoothing, StreamOptions
from cigpose_client.streams.smoothing import METRES, filtered_speeds, one_euro, score_weights, units
from cigpose_client.streams.tracks import State, Tracks, begun, sigmas

_SEEK_S = 1.0  # a longer step, or max_lost_s if that is more, drops all people
_PAUSE_S = 0.5  # a longer step restarts the filters
_ROUNDING_S = 1e-6


def frame_call(
    state: State,
    time_s: float,
    options: StreamOptions,
    ask: Callable[[FloatArray | None], Call],
    pixels: Pixels | None = None,
) -> Call:
    """Return the steps of one frame; the result is the state after it, and the people with their ids.

    Args:
        state: before the frame; it is not changed, so a call that fails leaves the stream as it was.
        time_s: time of the frame.
        options: of the stream.
        ask: returns the call for the people in (N, 4) boxes, or for None that of the detector; the results are `Poses`.
        pixels: of the frame; without them appearance is not compared.
    """
    state = _continued(state, time_s, options)
    if state.tracks is not None and _without_detector(state, time_s, options):
        tracks = state.tracks.take(slice(state.visible))
        try:
            poses: Poses = yield from ask(request_boxes(tracks, time_s))
        except ModelNotReady as error:
            if error.transient:
                raise
            state = replace(state, boxes_work=False)
        else:
            seen = looks(pixels, poses)
            match = found_by_boxes(tracks, poses, seen, time_s, options.score_fall)
            if match is not None:
                return advance(replace(state, troubles=0), poses, seen, match, time_s, False, options)
            pause = min(2**state.troubles, options.detect_every)  # frames
            state = replace(state, troubles=state.troubles + 1, boxes_from=state.frame + 1 + pause)
    poses = yield from ask(None)
    state = _fitting(replace(state, boxes_work=state.boxes_work and not poses.bottom_up), poses)
    seen = looks(pixels, poses)
    match = associate(state.tracks, state.visible, poses, seen, time_s)
    return advance(state, poses, seen, match, time_s, True, options)


def frame_pixels(state: State, options: StreamOptions, image: Image, picture: bytes) -> Pixels | None:
    """Return what `frame_call` compares appearance by; None if nobody is known, or not asked for, or without OpenCV.

    Args:
        state: before the frame.
        options: of the stream.
        image: the frame, as the caller passed it.
        picture: the same, encoded.
    """
    if not options.appearance or state.tracks is None or not len(state.tracks):
        return None
    return pixels_of(image, picture, state.tracks.bboxes)


def request_boxes(tracks: Tracks, time_s: float) -> FloatArray:
    """Return the (T, 4) boxes to look in at `time_s`."""
    return tracks.moved(time_s)[0].astype(np.float32)


def advance(
    state: State, poses: Poses, seen: Looks, match: Match, time_s: float, detected: bool, options: StreamOptions
) -> tuple[State, Poses]:
    """Return the state after a frame, and the people of the answer with their ids, smoothed if requested.

    Args:
        state: before the frame.
        poses: the answer; its boxes are the detector's, or those of the request.
        seen: the appearance of its people.
        match: association of its people with those of `state`.
        time_s: time of the frame.
        detected: whether the detector ran.
        options: of the stream.
    """
    now = begun(poses, seen, state.next_id, time_s)
    is_new = np.ones(len(poses), bool)
    is_new[match.people] = False
    now.ids[is_new] = state.next_id + np.arange(is_new.sum())
    if state.tracks is not None and len(match.tracks):
        before = state.tracks.take(match.tracks)
        after = _measured(before, now.take(match.people), detected)
        if options.smoothing is not None:
            lost = match.tracks >= state.visible
            after = _smoothed(before, after, lost, time_s - state.time_s, sigmas(poses), options.smoothing)
        now = _replaced(now, match.people, after)
        now = now.take(np.argsort(-now.bbox_scores, kind="stable"))  # between detections they are those of the tracks
    everybody = now if state.tracks is None else now.joined(_lost(state.tracks, match, time_s, options.max_lost_s))
    after_frame = replace(
        state,
        tracks=everybody,
        visible=len(now),
        next_id=state.next_id + int(is_new.sum()),
        time_s=time_s,
        frame=state.frame + 1,
        detected_frame=state.frame if detected else state.detected_frame,
        detected_s=time_s if detected else state.detected_s,
    )
    return after_frame, _answer(poses, now)


def _continued(state: State, time_s: float, options: StreamOptions) -> State:
    """Return the state without anybody, if the time ran backwards or jumped."""
    step_s = time_s - state.time_s
    if 0 <= step_s <= max(_SEEK_S, options.max_lost_s):
        return state
    return replace(state, tracks=None, visible=0)


def _fitting(state: State, poses: Poses) -> State:
    """Return the state without anybody, if the answers have other keypoints now: the network was replaced."""
    fits = state.tracks is None or state.tracks.fits(poses)
    return state if fits else replace(state, tracks=None, visible=0)


def _without_detector(state: State, time_s: float, options: StreamOptions) -> bool:
    if not state.boxes_work or state.visible == 0 or state.frame < state.boxes_from:
        return False
    if time_s - state.time_s > _PAUSE_S or _looks_for_lost(state, time_s):
        return False
    if options.detect_every_s is not None:
        return time_s - state.detected_s < options.detect_every_s - _ROUNDING_S
    return state.frame - state.detected_frame < options.detect_every


def _looks_for_lost(state: State, time_s: float) -> bool:
    """Return whether the detector looks for a lost person: after one frame, then 2, 4, ... times that."""
    lost_s = () if state.tracks is None else state.tracks.seen_s[state.visible :]
    return len(lost_s) > 0 and time_s - state.detected_s >= state.detected_s - max(lost_s) - _ROUNDING_S


def _measured(before: Tracks, now: Tracks, detected: bool) -> Tracks:
    """Return the people of `now` with what `before` carries over: id, velocity, and the last detection."""
    weights = np.minimum(score_weights(before.scores), score_weights(now.scores))
    old, new, _ = motion.similarity(before.keypoints, now.keypoints, weights)
    velocities = motion.updated_velocities(before.velocities, before.counts, new - old, now.seen_s - before.seen_s)
    colours, colour_weights = learned(
        before.colours, before.colour_weights, now.colours, now.colour_weights, now.seen_s - before.seen_s
    )
    now = replace(
        now,
        ids=before.ids,
        velocities=velocities,
        counts=before.counts + 1,
        colours=colours,
        colour_weights=colour_weights,
    )
    if detected:
        return now
    return replace(
        now,
        bboxes=_boxes_of_poses(before, now),
        bbox_scores=before.bbox_scores,
        detected_bboxes=before.detected_bboxes,
        detected_keypoints=before.detected_keypoints,
        detected_scores=before.detected_scores,
    )


def _boxes_of_poses(before: Tracks, now: Tracks) -> Array:
    """Return the (N, 4) boxes of the last detection, moved as the keypoints have moved since."""
    weights = np.minimum(score_weights(before.detected_scores), score_weights(now.scores))
    change = motion.similarity(before.detected_keypoints, now.keypoints, weights)
    boxes = motion.moved_points(before.detected_bboxes.reshape(-1, 2, 2), *change).reshape(-1, 4)
    expected = motion.moved_points(before.detected_keypoints, *change)
    return motion.enlarged_boxes(boxes, expected, now.keypoints, now.scores)


def _smoothed(
    before: Tracks, now: Tracks, lost: npt.NDArray[np.bool_], dt_s: float, sigma: Array, options: Smoothing
) -> Tracks:
    """Return the people of `now` with filtered points.

    The filter restarts after a pause, an absence or a jump, and at a second frame of the same time.
    """
    size = sizes(now.bboxes)
    unit, weights = units(size, sigma), score_weights(now.scores)
    apart = np.linalg.norm(now.keypoints - before.points - before.point_speeds * dt_s, axis=2)
    begin = lost[:, None] | (dt_s <= 0) | (dt_s > _PAUSE_S) | (apart > options.jump * size[:, None])
    speeds = filtered_speeds(before.points, before.point_speeds, now.keypoints, dt_s, options)
    both = np.minimum(score_weights(before.scores), weights)
    moved = motion.followed(before.points, now.keypoints, speeds, both, unit, dt_s)
    points = one_euro(moved, speeds, now.keypoints, dt_s, unit, weights, options)
    joint_speeds = filtered_speeds(before.joints, before.joint_speeds, now.joints, dt_s, options)
    every = np.ones(now.joints.shape[:2])
    joints = one_euro(before.joints, joint_speeds, now.joints, dt_s, METRES * every, every, options)
    points, speeds = _begun_anew(begin, now.keypoints, points, speeds)
    joints, joint_speeds = _begun_anew(begin.mean(axis=1, keepdims=True) > 0.5, now.joints, joints, joint_speeds)
    return replace(now, points=points, point_speeds=speeds, joints=joints, joint_speeds=joint_speeds)


def _begun_anew(begin: npt.NDArray[np.bool_], measured: Array, points: Array, speeds: Array) -> tuple[Array, Array]:
    """Return points and speeds, those with `begin` (N, K) or (N, 1) as measured and at rest."""
    return np.where(begin[..., None], measured, points), np.where(begin[..., None], 0.0, speeds)


def _replaced(now: Tracks, rows: Rows, others: Tracks) -> Tracks:
    """Return `now` with `others` at `rows`."""
    values = {}
    for field in fields(now):
        values[field.name] = getattr(now, field.name).copy()
        values[field.name][rows] = getattr(others, field.name)
    return Tracks(**values)


def _lost(tracks: Tracks, match: Match, time_s: float, max_lost_s: float) -> Tracks:
    """Return the people who were not found, except those lost for too long."""
    missing = np.setdiff1d(np.arange(len(tracks)), match.tracks)
    return tracks.take(missing[time_s - tracks.seen_s[missing] <= max_lost_s])


def _answer(poses: Poses, tracks: Tracks) -> Poses:
    return replace(
        poses,
        bboxes=tracks.bboxes.astype(np.float32),
        bbox_scores=tracks.bbox_scores.astype(np.float32),
        keypoints=tracks.points.astype(np.float32),
        keypoint_scores=tracks.scores.astype(np.float32),
        keypoints_3d=None if poses.keypoints_3d is None else tracks.joints.astype(np.float32),
        track_ids=tracks.ids.astype(np.int64),
    )
