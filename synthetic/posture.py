"""Joint angles: their limits, and random postures of everyday kinds (standing, walking, sitting, waving, ...)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# In degrees. Flexion moves a limb forward (and closes the knee and the elbow). Abduction moves it away from the body.
# Rotation turns it inwards about its own axis. Ranges are rounded from textbook norms of active joint motion.
ARM_LIMITS = {"flex": (-45, 175), "abduct": (-15, 170), "rotate": (-60, 80), "elbow": (2, 148), "wrist": (-55, 60)}
LEG_LIMITS = {"flex": (-25, 115), "abduct": (-8, 45), "rotate": (-35, 35), "knee": (0, 140), "ankle": (-20, 40)}
SPINE_LIMITS = {"bend": (-20, 60), "lean": (-25, 25), "twist": (-40, 40)}
NECK_LIMITS = {"bend": (-35, 40), "lean": (-30, 30), "twist": (-70, 70)}


@dataclass
class Posture:
    """Joint angles in degrees; rows of arms and legs are (left, right), columns follow the limit tables.

    Attributes:
        arms: (2, 5).
        legs: (2, 5).
        spine: (3,).
        neck: (3,).
        tilt: (2,) tilt of the whole body: forwards, sidewards.
        curls: (2, 5) finger flexion per hand, thumb first, from 0 (straight) to 1 (fist).
        spreads: (2,) finger spread in degrees.
    """

    arms: Array
    legs: Array
    spine: Array
    neck: Array
    tilt: Array
    curls: Array
    spreads: Array


def sample_posture(rng: np.random.Generator) -> Posture:
    """Draw one posture within the joint limits."""
    posture = _relaxed(rng)
    _LEG_KINDS[rng.choice(len(_LEG_KINDS), p=_LEG_ODDS)](posture, rng)
    for side in range(2):
        _ARM_KINDS[rng.choice(len(_ARM_KINDS), p=_ARM_ODDS)](posture.arms[side], rng)
    if rng.random() < 0.15:
        posture.arms[1] = posture.arms[0] + rng.normal(0, 6, 5)
    return within_limits(posture)


def within_limits(posture: Posture) -> Posture:
    """Return the posture with every joint angle clipped to its range."""
    return Posture(
        arms=_clip(posture.arms, ARM_LIMITS),
        legs=_clip(posture.legs, LEG_LIMITS),
        spine=_clip(posture.spine, SPINE_LIMITS),
        neck=_clip(posture.neck, NECK_LIMITS),
        tilt=posture.tilt,
        curls=np.clip(posture.curls, 0, 1),
        spreads=np.clip(posture.spreads, 0, 14),
    )


def _clip(angles: Array, limits: dict[str, tuple[int, int]]) -> Array:
    low, high = np.array(list(limits.values()), dtype=np.float64).T
    return np.clip(angles, low, high)


def _relaxed(rng: np.random.Generator) -> Posture:
    arm, leg = np.array((0.0, 8.0, 5.0, 14.0, 0.0)), np.array((0.0, 3.0, -6.0, 3.0, 0.0))
    return Posture(
        arms=arm + rng.normal(0, (9, 5, 12, 10, 9), (2, 5)),
        legs=leg + rng.normal(0, (5, 3, 6, 3, 4), (2, 5)),
        spine=rng.normal(0, (5, 3, 6)),
        neck=rng.normal(0, (9, 6, 20)),
        tilt=rng.normal(0, (1.5, 1.5)) + (rng.random() < 0.04) * rng.normal(0, (10, 55)),
        curls=_fingers(rng),
        spreads=rng.uniform(1, 12, 2),
    )


def _fingers(rng: np.random.Generator) -> Array:
    kinds = np.array(
        (
            (0.2, 0.05, 0.05, 0.05, 0.05),
            (0.3, 0.3, 0.35, 0.38, 0.4),
            (0.7, 0.95, 0.95, 0.95, 0.95),
            (0.6, 0.0, 0.9, 0.9, 0.9),
        )
    )
    chosen = kinds[rng.choice(4, size=2, p=(0.4, 0.35, 0.15, 0.1))]
    return np.asarray(chosen + rng.normal(0, 0.06, (2, 5)))


def _stand(posture: Posture, rng: np.random.Generator) -> None:
    if rng.random() < 0.4:  # weight on one leg
        posture.legs[rng.integers(2)] += (rng.uniform(5, 20), rng.uniform(0, 10), -5, rng.uniform(10, 30), 0)


def _walk(posture: Posture, rng: np.random.Generator) -> None:
    front, stride = int(rng.integers(2)), rng.uniform(12, 35)
    posture.legs[front] += (stride, 0, 0, rng.uniform(0, 20), 5)
    posture.legs[1 - front] += (-0.6 * stride, 0, 0, rng.uniform(5, 35), -5)
    posture.arms[:, 0] += (-stride, stride) if front == 0 else (stride, -stride)
    posture.arms[:, 3] += rng.uniform(5, 35)


def _run(posture: Posture, rng: np.random.Generator) -> None:
    front = int(rng.integers(2))
    posture.legs[front] += (rng.uniform(35, 85), 0, 0, rng.uniform(40, 100), 0)
    posture.legs[1 - front] += (-15, 0, 0, rng.uniform(15, 90), -15)
    swing = rng.uniform(25, 50)
    posture.arms[:, 0] += (-swing, swing) if front == 0 else (swing, -swing)
    posture.arms[:, 3] += rng.uniform(60, 95)
    posture.spine[0] += rng.uniform(5, 20)


def _sit(posture: Posture, rng: np.random.Generator) -> None:
    posture.legs += (rng.uniform(75, 100), rng.uniform(0, 18), 0, rng.uniform(60, 105), 0)
    posture.spine[0] += rng.uniform(-8, 15)
    posture.arms[:, 0] += rng.uniform(5, 40)


def _squat(posture: Posture, rng: np.random.Generator) -> None:
    bend = rng.uniform(40, 110)
    posture.legs += (bend, rng.uniform(5, 25), -10, 1.15 * bend, 20)
    posture.spine[0] += rng.uniform(10, 40)


def _straddle(posture: Posture, rng: np.random.Generator) -> None:
    posture.legs[:, 1] += rng.uniform(8, 40)
    if rng.random() < 0.4:  # lunge or kick
        posture.legs[rng.integers(2)] += (rng.uniform(20, 90), 0, 0, rng.uniform(0, 70), 0)


def _hang(arm: Array, rng: np.random.Generator) -> None:
    arm[3] += rng.uniform(0, 20)


def _raise(arm: Array, rng: np.random.Generator) -> None:
    arm += (rng.uniform(-10, 40), rng.uniform(90, 165), 0, rng.uniform(0, 60), 0)


def _wave(arm: Array, rng: np.random.Generator) -> None:
    arm += (rng.uniform(60, 120), rng.uniform(20, 60), -40, rng.uniform(70, 125), 0)


def _akimbo(arm: Array, rng: np.random.Generator) -> None:
    arm += (rng.uniform(-20, 0), rng.uniform(35, 55), rng.uniform(40, 65), rng.uniform(80, 110), 20)


def _reach(arm: Array, rng: np.random.Generator) -> None:
    arm += (rng.uniform(40, 110), rng.uniform(-5, 50), rng.uniform(-20, 30), rng.uniform(0, 50), 0)


def _hold(arm: Array, rng: np.random.Generator) -> None:
    arm += (rng.uniform(5, 50), rng.uniform(-5, 20), rng.uniform(0, 50), rng.uniform(60, 125), 0)


def _spread(arm: Array, rng: np.random.Generator) -> None:
    arm += (rng.uniform(-20, 20), rng.uniform(50, 95), rng.uniform(-20, 20), rng.uniform(0, 60), 0)


_LEG_KINDS: tuple[Callable[[Posture, np.random.Generator], None], ...] = (_stand, _walk, _run, _sit, _squat, _straddle)
_LEG_ODDS = (0.38, 0.22, 0.10, 0.12, 0.06, 0.12)
_ARM_KINDS: tuple[Callable[[Array, np.random.Generator], None], ...] = (
    _hang,
    _raise,
    _wave,
    _akimbo,
    _reach,
    _hold,
    _spread,
)
_ARM_ODDS = (0.30, 0.12, 0.12, 0.10, 0.12, 0.16, 0.08)
