"""Errors of joints in space, in the metrics of Human3.6M: MPJPE, P-MPJPE and the velocity error, in millimetres.

Source of the arithmetic: github.com/QitaoZhao/ContextAware-PoseFormer, loss.py, which is VideoPose3D's.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Joints: TypeAlias = npt.NDArray[np.float64]
_MM = 1000.0
MEAN = "mean"


@dataclass(frozen=True, eq=False)
class Sample:
    """One person of one picture.

    Attributes:
        predicted: (J, 3) metres from the root joint, as answered: the root itself may lie beside it.
        truth: (J, 3) metres from the root joint.
        action: group whose errors are averaged first.
        track: the same for one person in the pictures of a sequence, in order; None without a sequence.
    """

    predicted: Joints
    truth: Joints
    action: str
    track: Hashable | None = None


def evaluate_3d(samples: Iterable[Sample]) -> dict[str, dict[str, float]]:
    """Return the errors in mm of each action, and as `mean` the means over the actions.

    Velocities are differences of successive samples of a track. The entry `MPJVE` is missing where there are none.

    Raises:
        ValueError: there are no samples.
    """
    of_action: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        of_action[sample.action].append(sample)
    if not of_action:
        raise ValueError("no annotated person has keypoints_3d, so there is nothing to evaluate")
    errors = {action: _errors(found) for action, found in of_action.items()}
    names = dict.fromkeys(name for row in errors.values() for name in row)
    means = {name: float(np.mean([row[name] for row in errors.values() if name in row])) for name in names}
    return {**errors, MEAN: means}


def mpjpe(predicted: Joints, truth: Joints) -> float:
    """Return the mean distance of joints (M, J, 3), in their unit."""
    return float(np.mean(np.linalg.norm(predicted - truth, axis=-1)))


def p_mpjpe(predicted: Joints, truth: Joints) -> float:
    """Return `mpjpe` after each pose was moved, turned and scaled to lie best on the truth (Procrustes)."""
    return mpjpe(aligned(predicted, truth), truth)


def aligned(predicted: Joints, truth: Joints) -> Joints:
    """Return poses (M, J, 3) moved, turned and scaled, without mirroring, to the least squares from the truth."""
    centers = truth.mean(axis=1, keepdims=True)
    around, target = predicted - predicted.mean(axis=1, keepdims=True), truth - centers
    left, sizes, right = np.linalg.svd(around.transpose(0, 2, 1) @ target)
    mirrors = np.sign(np.linalg.det(left @ right))
    left[:, :, -1] *= mirrors[:, None]
    sizes[:, -1] *= mirrors
    spread = np.maximum((around**2).sum(axis=(1, 2)), np.finfo(np.float64).tiny)  # of a pose in one point: 0
    scales = (sizes.sum(axis=1) / spread)[:, None, None]
    return np.asarray(scales * around @ (left @ right) + centers)


def _errors(samples: list[Sample]) -> dict[str, float]:
    predicted, truth = (np.stack([getattr(sample, name) for sample in samples]) for name in ("predicted", "truth"))
    errors = {"MPJPE": _MM * mpjpe(predicted, truth), "P-MPJPE": _MM * p_mpjpe(predicted, truth)}
    tracks: dict[Hashable, list[int]] = defaultdict(list)
    for row, sample in enumerate(samples):
        if sample.track is not None:
            tracks[sample.track].append(row)
    moves = [(np.diff(predicted[rows], axis=0), np.diff(truth[rows], axis=0)) for rows in tracks.values()]
    found, true = (np.concatenate([move[part] for move in moves]) if moves else truth[:0] for part in (0, 1))
    return errors | ({"MPJVE": _MM * mpjpe(found, true)} if len(found) else {})
