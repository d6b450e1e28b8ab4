"""The one-euro filter, for all keypoints of all people at once and in seconds."""

import numpy as np
import numpy.typing as npt

from cigpose_client.streams.association import Array
from cigpose_client.streams.options import Smoothing

_LEAST_WEIGHT = 0.1
METRES = 0.3
"""Unit of speeds of points in space, in place of a size times a sigma."""


def units(size: Array, sigmas: Array) -> Array:
    """Return the (N, K) pixels that a speed is divided by: the person's size times the keypoint's sigma."""
    return size[:, None] * sigmas[None]


def score_weights(scores: Array) -> Array:
    """Return the (N, K) weights of the keypoints, 0.1 to 1: the score as a share of the person's mean score."""
    positive = np.maximum(scores, 0.0)
    mean = np.maximum(positive.mean(axis=1, keepdims=True), 1e-9)
    return np.asarray(np.clip(positive / mean, _LEAST_WEIGHT, 1.0))


def filtered_speeds(before: Array, speeds: Array, measured: Array, dt_s: float, options: Smoothing) -> Array:
    """Return the (N, K, D) filtered speeds after another frame, units of the points per second.

    Args:
        before: (N, K, D) filtered points of the previous frame.
        speeds: (N, K, D) filtered speeds of the previous frame.
        measured: (N, K, D) points of this frame.
        dt_s: seconds since the previous frame, not negative.
        options: the filter's parameters.
    """
    step = (measured - before) / max(dt_s, 1e-9)
    return np.asarray(speeds + _share(options.speed_cutoff_hz, dt_s) * (step - speeds))


def one_euro(
    before: Array, speeds: Array, measured: Array, dt_s: float, unit: Array, weights: Array, options: Smoothing
) -> Array:
    """Return the (N, K, D) filtered points.

    Args:
        before: (N, K, D) filtered points of the previous frame, or where they are expected now.
        speeds: (N, K, D) filtered speeds of this frame, units of the points per second.
        measured: (N, K, D) points of this frame.
        dt_s: seconds since the previous frame, not negative.
        unit: (N, K) length that makes speeds comparable, in the unit of the points.
        weights: (N, K) factors of the cutoff, above 0 to 1; a keypoint with a low score is smoothed more.
        options: the filter's parameters.
    """
    pace = np.linalg.norm(speeds, axis=2) / unit
    cutoff = weights * (options.min_cutoff_hz + options.speed_gain * pace)
    return np.asarray(before + _share(cutoff, dt_s)[..., None] * (measured - before))


def _share(cutoff_hz: npt.ArrayLike, dt_s: float) -> Array:
    """Return the share of a new value in a low-pass filter of first order: 0 after no time, 1 after a long time."""
    turn = 2 * np.pi * np.asarray(cutoff_hz, np.float64) * dt_s
    return np.asarray(turn / (turn + 1))
