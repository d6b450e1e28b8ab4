"""SimCC decoding: one row of bins a keypoint and axis -> coordinates and scores."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


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
    keypoints = np.stack([simcc_x.argmax(axis=2), simcc_y.argmax(axis=2)], axis=2).astype(np.float32)
    scores = np.minimum(simcc_x.max(axis=2), simcc_y.max(axis=2))
    keypoints[scores <= 0] = -1
    return keypoints, scores


def bins_to_picture(keypoints: Floats, bins: tuple[int, int], centers: Floats, scales: Floats) -> Floats:
    """Map keypoints from bins to picture pixels.

    Args:
        keypoints: (N, K, 2) float32, in bins.
        bins: numbers of x bins and y bins; they span exactly the crop, so no split ratio is needed.
        centers: (N, 2) float32, picture pixels.
        scales: (N, 2) float32, picture pixels.

    Returns:
        (N, K, 2) float32, picture pixels.

    Source: MMPose 1.3.2, TopdownPoseEstimator.add_pred_to_datasample; float64 inside, as there.
    """
    scales = scales[:, None]
    in_crop = keypoints.astype(np.float64) / bins
    in_picture: NDArray[np.float64] = in_crop * scales + centers[:, None] - 0.5 * scales
    return in_picture.astype(np.float32)
