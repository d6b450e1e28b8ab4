"""The one-euro filter, and the motion of whole people that it follows."""

import numpy as np
import pytest
from cigpose_client import Smoothing
from cigpose_client.streams.motion import followed
from cigpose_client.streams.smoothing import filtered_speeds, one_euro, score_weights, units

OPTIONS = Smoothing()


def filtered(signal, rate, unit=5.0, weight=1.0, options=OPTIONS):
    """Return the filtered (T, N, K, D) signal."""
    shape = signal.shape[1:3]
    points, speeds = signal[0], np.zeros_like(signal[0])
    rows = [points]
    for measured in signal[1:]:
        speeds = filtered_speeds(points, speeds, measured, 1 / rate, options)
        points = one_euro(points, speeds, measured, 1 / rate, np.full(shape, unit), np.full(shape, weight), options)
        rows.append(points)
    return np.array(rows)


def line(values):
    """Return (T,) values as the signal of one keypoint in one dimension."""
    return np.asarray(values, float).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("rate", [25, 50, 100])
def test_time_is_counted_in_seconds(rate):
    """A step is followed to 70 % in the same time at each frame rate; counted in frames it would differ fourfold."""
    options = Smoothing(min_cutoff_hz=1.0, speed_gain=1e-6)
    after = filtered(line(np.r_[0, np.ones(rate)]), rate, options=options)[:, 0, 0, 0]
    assert 0.16 < np.argmax(after > 0.7) / rate < 0.26


def test_a_person_twice_as_large_is_smoothed_alike():
    signal = line(np.cumsum(np.random.default_rng(0).normal(0, 2, 60)))
    np.testing.assert_allclose(filtered(2 * signal, 25, unit=10.0), 2 * filtered(signal, 25, unit=5.0))
    np.testing.assert_allclose(units(np.array([100.0]), np.array([0.1, 0.02])), [[10, 2]])


def test_keypoints_with_small_sigmas_and_high_scores_follow_faster():
    ramp = line(np.arange(30.0))
    lags = [float((ramp - filtered(ramp, 25, unit, weight))[-1].item()) for unit, weight in ((2, 1), (9, 1), (9, 0.2))]
    assert 0 < lags[0] < lags[1] < lags[2]
    np.testing.assert_allclose(score_weights(np.array([[0.9, 0.6, 0.0]])), [[1, 1, 0.1]])


def test_many_people_are_filtered_as_if_alone():
    signal = np.random.default_rng(0).normal(0, 9, (20, 40, 17, 2))
    together = filtered(signal, 25)
    np.testing.assert_allclose(together[:, 7:8], filtered(signal[:, 7:8], 25))


def test_two_frames_of_the_same_time_hold_the_point():
    zeros, ones = np.zeros((1, 1, 2)), np.ones((1, 1))
    speeds = filtered_speeds(zeros, zeros, zeros + 9, 0.0, OPTIONS)
    np.testing.assert_array_equal(one_euro(zeros, speeds, zeros + 9, 0.0, ones, ones, OPTIONS), zeros)
    np.testing.assert_array_equal(followed(zeros, zeros + 9, speeds, ones, ones, 0.0), zeros)
    assert np.isfinite(speeds).all()


@pytest.mark.parametrize(("rate", "noise"), [(25, 1.0), (60, 1.0), (60, 0.3)])
def test_noise_at_rest_shrinks_and_motion_lags_by_a_frame_at_most(rate, noise):
    """100 pixels of size, a sigma of 0.07: keypoints that shake by 1 % of the size, then move by 1.5 sizes/s."""
    rng = np.random.default_rng(3)
    still = rng.normal(0, noise, (6 * rate, 1, 17, 2))
    acceleration = [np.abs(np.diff(signal, 2, axis=0)).mean() for signal in (still, filtered(still, rate, 7.0))]
    assert acceleration[1] < 0.5 * acceleration[0]
    moving = still.copy()
    moving[..., 0] += 150 * np.maximum(np.arange(len(still)) / rate - 1, 0)[:, None, None]
    behind = (moving - filtered(moving, rate, 7.0))[2 * rate :, ..., 0].mean()
    assert behind / (150 / rate) < 1.0  # frames


def together(frames, rate, unit=7.0):
    """Return the (T, 1, K, 2) frames of one person, filtered with the motion of the whole person."""
    points, speeds, rows = frames[0], np.zeros_like(frames[0]), []
    ones = np.ones(points.shape[:2])
    for measured in frames:
        speeds = filtered_speeds(points, speeds, measured, 1 / rate, OPTIONS)
        moved = followed(points, measured, speeds, ones, unit * ones, 1 / rate)
        points = one_euro(moved, speeds, measured, 1 / rate, unit * ones, ones, OPTIONS)
        rows.append(points)
    return np.array(rows)


def person(seed=0):
    """Return (1, 17, 2) keypoints of a person of 200 x 400 pixels."""
    return np.random.default_rng(seed).uniform((500, 300), (700, 700), (1, 17, 2))


@pytest.mark.parametrize("motion", ["pan", "zoom"])
@pytest.mark.parametrize("rate", [25, 60])
def test_people_whom_the_camera_moves_do_not_lag(motion, rate):
    """One sway in 2.5 s, as over photos."""
    sway = np.sin(2 * np.pi * np.arange(3 * rate) / rate / 2.5)[:, None, None, None]
    frames = person() + 150 * sway if motion == "pan" else 960 + (1 + 0.3 * sway) * (person() - 960)
    pace = np.linalg.norm(np.diff(frames, axis=0), axis=-1).mean()
    late = [
        np.linalg.norm(found - frames, axis=-1)[rate:].mean() / pace
        for found in (together(frames, rate), filtered(frames, rate, 7.0))
    ]
    assert late[0] < min(0.1, 0.4 * late[1])


def test_one_arm_does_not_move_the_others():
    frames = np.repeat(person()[None], 25, axis=0)
    frames[:, 0, 0, 0] += 8 * np.arange(25)
    np.testing.assert_allclose(together(frames, 25)[:, 0, 1:], frames[:, 0, 1:], atol=1.0)


def test_a_shaking_crop_is_not_followed():
    """All keypoints shake together, by 1 % of the size."""
    rng = np.random.default_rng(3)
    frames = person() + rng.normal(0, 3, (150, 1, 1, 2))
    acceleration = [np.abs(np.diff(each, 2, axis=0)).mean() for each in (frames, together(frames, 25, 20.0))]
    assert acceleration[1] < 0.5 * acceleration[0]


@pytest.mark.parametrize("wrong", [{"min_cutoff_hz": 0}, {"speed_gain": -1}, {"jump": float("nan")}])
def test_parameters_are_checked(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*; give a finite number above 0"):
        Smoothing(**wrong)
