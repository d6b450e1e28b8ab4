"""Motion of whole people: shift and scale between two poses, velocity, and where a person will be."""

import numpy as np
import numpy.typing as npt

from cigpose_client.streams.association import Array

_CLEAR = 0.5  # share of the person's mean score from which on a keypoint belongs to the extent
_SCALES = (0.8, 1.25)  # of a person between two detections; a larger change is one of the posture
_SLACK = 0.05  # of the box's longer side, by which keypoints may leave their extent
_MEMORY_S = 0.3  # time constant of the velocity
_SHORT_S = 0.01  # a shorter step measures a velocity less well
_COAST_S = 1.5  # time constant with which the velocity of a lost person fades
_ODD = 0.1  # weight of a whole person's motion that differs from the expected one, in `followed`
_REST = 3.0  # sigmas of the person per second, a pace below which keypoints rather shake than move


def similarity(before: Array, now: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Return the similarity transform between poses, least squares without rotation.

    Args:
        before: (N, K, 2) keypoints.
        now: (N, K, 2) keypoints.
        weights: (N, K) of the keypoints, not negative.

    Returns:
        centers before (N, 2), centers now (N, 2), scales (N,) from 0.8 to 1.25.
    """
    shares = (weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9))[..., None]
    old, new = (shares * before).sum(axis=1), (shares * now).sum(axis=1)
    spreads = [
        (shares * (pose - center[:, None]) ** 2).sum(axis=(1, 2)) for pose, center in ((before, old), (now, new))
    ]
    scales = np.sqrt(spreads[1] / np.maximum(spreads[0], 1e-9))
    return old, new, np.clip(np.where(spreads[0] > 0, scales, 1.0), *_SCALES)


def moved_points(points: Array, old: Array, new: Array, scales: Array) -> Array:
    """Return the (N, P, 2) points, moved by the result of `similarity`."""
    return new[:, None] + scales[:, None, None] * (points - old[:, None])


def followed(points: Array, keypoints: Array, speeds: Array, weights: Array, unit: Array, dt_s: float) -> Array:
    """Return the (N, K, 2) points, moved as the whole person has moved, as far as this is motion and not noise.

    A filter that begins there does not lag behind people who walk, or whom the camera pans past. The share is that of a
    Wiener filter: the power of the expected motion, divided by this power plus that of the noise.

    Args:
        points: (N, K, 2) filtered points of the previous frame.
        keypoints: (N, K, 2) of this frame.
        speeds: (N, K, 2) filtered speeds of the keypoints in pixels per second.
        weights: (N, K) of the keypoints, above 0.
        unit: (N, K) pixels of the keypoint's sigma.
        dt_s: seconds since the previous frame.
    """
    seen, expected = (
        moved_points(points, *similarity(points, to, weights)) - points for to in (keypoints, points + speeds * dt_s)
    )
    steady, odd = (_power(shift / unit[..., None], weights) for shift in (expected, seen - expected))
    shares = steady / np.maximum(steady + _ODD * odd + (_REST * dt_s) ** 2, 1e-12)
    return np.asarray(points + shares[:, None, None] * seen)


def _power(shifts: Array, weights: Array) -> Array:
    """Return the (N,) weighted means of the squared lengths of (N, K, 2) shifts."""
    return np.asarray((weights * (shifts**2).sum(axis=2)).sum(axis=1) / weights.sum(axis=1))


def enlarged_boxes(bboxes_xyxy: Array, expected: Array, keypoints: Array, scores: Array) -> Array:
    """Return the boxes, enlarged as far as clear keypoints lie outside the extent where a moved pose has them.

    A raised arm needs a larger box. Noise, and keypoints that lay outside the detector's box, do not.

    Args:
        bboxes_xyxy: (N, 4) boxes of the last detection, moved.
        expected: (N, K, 2) keypoints of the last detection, moved likewise.
        keypoints: (N, K, 2) of this frame.
        scores: (N, K) of this frame.
    """
    if not keypoints.size:
        return bboxes_xyxy
    clear = ((scores >= _CLEAR * scores.mean(axis=1, keepdims=True)) & (scores > 0))[..., None]
    slack = _SLACK * (bboxes_xyxy[:, 2:] - bboxes_xyxy[:, :2]).max(axis=1, keepdims=True)
    below = np.where(clear, keypoints, np.inf).min(axis=1) - expected.min(axis=1) + slack
    above = np.where(clear, keypoints, -np.inf).max(axis=1) - expected.max(axis=1) - slack
    return np.hstack([bboxes_xyxy[:, :2] + np.minimum(below, 0), bboxes_xyxy[:, 2:] + np.maximum(above, 0)])


def updated_velocities(velocities: Array, counts: npt.NDArray[np.int64], shifts: Array, dt_s: Array) -> Array:
    """Return the (N, 2) velocities in pixels per second after another measurement.

    Args:
        velocities: (N, 2) before.
        counts: (N,) number of measurements before. The first ones have more weight than their duration gives them, but
            those of less than 10 ms: a keypoint that shakes by a pixel seems to be fast.
        shifts: (N, 2) pixels since the person was last seen.
        dt_s: (N,) seconds since then; 0 leaves a velocity as it is.
    """
    first = np.minimum(dt_s / _SHORT_S, 1.0) / (counts + 2.0)
    gains = np.maximum(1 - np.exp(-dt_s / _MEMORY_S), first)[:, None]
    return np.asarray(velocities + gains * (shifts / np.maximum(dt_s, 1e-9)[:, None] - velocities))


def coasted_s(ages_s: Array) -> Array:
    """Return the seconds for which a person who was seen `ages_s` ago is moved on: with age, the velocity fades."""
    return np.asarray(_COAST_S * (1 - np.exp(-ages_s / _COAST_S)))
