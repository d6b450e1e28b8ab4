"""Parameters of a stream, each with its default and what turning it does."""

import math
from dataclasses import dataclass
from numbers import Integral, Real


@dataclass(frozen=True)
class Smoothing:
    """Parameters of the one-euro filter, the same for all people, networks and frame rates.

    Speeds are divided by the person's size (the root of the box's area) and the keypoint's OKS sigma, so a value fits
    near and far people, eyes and hips. For points in space the unit is 30 cm.

    Attributes:
        min_cutoff_hz: cutoff for a keypoint at rest. Lower: still people shake less, slow motion lags more.
        speed_gain: Hz of cutoff for a speed of one sigma of the person per second. Higher: less lag, more noise.
        speed_cutoff_hz: cutoff of the speed estimate. Lower: noise opens the filter less, a start of motion later.
        jump: distance, in sizes of the person, from which on the filter of a keypoint restarts instead of following.

    Source: Casiez, Roussel, Vogel: 1 Euro Filter, CHI 2012. The units are this project's.
    """

    min_cutoff_hz: float = 0.8
    speed_gain: float = 2.25
    speed_cutoff_hz: float = 1.4
    jump: float = 0.3

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            _check_above_zero(name, value)


@dataclass(frozen=True)
class StreamOptions:
    """Parameters of a stream.

    Attributes:
        detect_every: the detector runs in every N-th frame; between, people are looked for where they were. Higher:
            fewer detections, and new people are found later.
        detect_every_s: seconds between detections; replaces `detect_every`.
        smooth: whether keypoints are smoothed, or the parameters of the filter.
        max_lost_s: seconds for which a lost person keeps the id. Higher: longer absences are bridged, and
            a different person in the same place is more easily taken for the lost one.
        score_fall: the detector runs immediately when the mean keypoint score of a person falls below this share of
            its value at the last detection. Higher: more detections.
        appearance: whether the colours of clothes and skin help to tell people apart. Encoded frames need OpenCV for it
            (extra `draw`); without it, only places and keypoints count.

    Raises:
        ValueError: a value is outside its range.
    """

    detect_every: int = 1
    detect_every_s: float | None = None
    smooth: bool | Smoothing = True
    max_lost_s: float = 3.0
    score_fall: float = 0.6
    appearance: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.detect_every, bool) or not isinstance(self.detect_every, Integral) or self.detect_every < 1:
            raise ValueError(f"detect_every is {self.detect_every!r}; give a whole number of frames from 1 on")
        if self.detect_every_s is not None:
            _check_above_zero("detect_every_s", self.detect_every_s)
        if not isinstance(self.smooth, bool | Smoothing):
            raise ValueError(f"smooth is {self.smooth!r}; give True, False or Smoothing(...)")
        if not (is_finite(self.max_lost_s) and self.max_lost_s >= 0):
            raise ValueError(f"max_lost_s is {self.max_lost_s!r}; give seconds from 0 on")
        if not isinstance(self.appearance, bool):
            raise ValueError(f"appearance is {self.appearance!r}; give True or False")
        if not (is_finite(self.score_fall) and 0 <= self.score_fall < 1):
            raise ValueError(f"score_fall is {self.score_fall!r}; give a share from 0 to below 1")

    @property
    def smoothing(self) -> Smoothing | None:
        """The filter's parameters; None without smoothing."""
        return (Smoothing() if self.smooth else None) if isinstance(self.smooth, bool) else self.smooth


def is_finite(value: object) -> bool:
    """Return whether a value is a number that a float can hold: one of Python or NumPy, or a fraction."""
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:
        return False


def _check_above_zero(name: str, value: float) -> None:
    if not (is_finite(value) and value > 0):
        raise ValueError(f"{name} is {value!r}; give a finite number above 0")
