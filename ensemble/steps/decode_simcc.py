"""SimCC decoding: one row of bins for each keypoint and axis -> coordinates and scores."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensemble.geometry import Floats, TopDownCrop
from ensemble.steps import Arrays, Request, Step
from ensemble.tensors import CENTERS, KEYPOINT_SCORES, KEYPOINTS, SCALES, SIMCC_X, SIMCC_Y


@dataclass(frozen=True)
class DecodeSimcc(Step):
    """SimCC rows -> keypoints in picture pixels; serves every SimCC network."""

    name: str = "decode_simcc"
    inputs = (SIMCC_X.many(), SIMCC_Y.many(), CENTERS, SCALES)
    outputs = (KEYPOINTS, KEYPOINT_SCORES)

    def run(self, request: Request) -> Arrays:
        """Decode the rows of each person. Those of the black crop of a picture without people are dropped."""
        simcc_x, simcc_y, centers, scales = (request.tensors[tensor.name] for tensor in self.inputs)
        persons = len(centers)
        keypoints, scores = decode_simcc(simcc_x[:persons], simcc_y[:persons])
        bins = simcc_x.shape[2], simcc_y.shape[2]
        return {"keypoints": TopDownCrop.to_picture(keypoints, bins, centers, scales), "keypoint_scores": scores}


def decode_simcc(simcc_x: Floats, simcc_y: Floats) -> tuple[Floats, Floats]:
    """Decode SimCC rows to keypoints in bins.

    Args:
        simcc_x: (N, K, W * split_ratio) float32 logits.
        simcc_y: (N, K, H * split_ratio) float32 logits.

    Returns:
        keypoints (N, K, 2) float32, in bins (crop pixels times the split ratio), (-1, -1) where the score is not
        positive; scores (N, K) float32, the smaller of the two row maxima.

    Raises:
        ValueError: the arrays disagree on N or K (the message gives both shapes).

    Source: MMPose 1.3.2, get_simcc_maximum.
    """
    if simcc_x.shape[:2] != simcc_y.shape[:2]:
        raise ValueError(f"simcc_x {simcc_x.shape} and simcc_y {simcc_y.shape} differ in persons or keypoints")
    (bins_x, maxima_x), (bins_y, maxima_y) = _maxima(simcc_x), _maxima(simcc_y)
    keypoints = np.stack([bins_x, bins_y], axis=2).astype(np.float32)
    scores = np.minimum(maxima_x, maxima_y)
    keypoints[scores <= 0] = -1
    return keypoints, scores


def _maxima(rows: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Return the first bin of each row's maximum and the maximum, (N, K) each, for rows (N, K, bins)."""
    flat = rows.reshape(-1, rows.shape[2])
    bins = flat.argmax(axis=1)
    maxima = flat[np.arange(len(flat)), bins]  # `max` would read every bin again
    return bins.reshape(rows.shape[:2]), maxima.reshape(rows.shape[:2])
