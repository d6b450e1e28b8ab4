"""The state of a stream: its people as arrays, and what decides on the next request. Values never change in place."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from cigpose_client._poses import Poses
from cigpose_client.streams import motion
from cigpose_client.streams.appearance import Looks
from cigpose_client.streams.association import Array, Rows

_USUAL_SIGMA = 0.08  # of keypoint sets without sigmas
_BODY = "body"


@dataclass(frozen=True, eq=False)
class Tracks:
    """T people with their ids.

    Attributes:
        ids: (T,) int64.
        bboxes: (T, 4) pixels, when last seen.
        bbox_scores: (T,) of the last detection.
        keypoints: (T, K, 2) as the network answered them when last seen.
        scores: (T, K) of these keypoints.
        velocities: (T, 2) pixels per second of the whole person.
        counts: (T,) int64, number of measurements of the velocity.
        seen_s: (T,) time when last seen.
        detected_bboxes: (T, 4) of the last detection.
        detected_keypoints: (T, K, 2) of the last detection.
        detected_scores: (T, K) of the last detection.
        points: (T, K, 2) filtered keypoints.
        point_speeds: (T, K, 2) their filtered speeds, pixels per second.
        joints: (T, J, 3) filtered points in space; J is 0 without a lifter.
        joint_speeds: (T, J, 3) their filtered speeds, metres per second.
        colours: (T, P, 3) of the parts of the body, see `appearance`.
        colour_weights: (T, P) of these; 0 for parts never seen.
    """

    ids: npt.NDArray[np.int64]
    bboxes: Array
    bbox_scores: Array
    keypoints: Array
    scores: Array
    velocities: Array
    counts: npt.NDArray[np.int64]
    seen_s: Array
    detected_bboxes: Array
    detected_keypoints: Array
    detected_scores: Array
    points: Array
    point_speeds: Array
    joints: Array
    joint_speeds: Array
    colours: Array
    colour_weights: Array

    def __len__(self) -> int:
        """Return T."""
        return len(self.ids)

    def take(self, rows: Rows | slice) -> "Tracks":
        """Return the people at `rows`, in that order."""
        return Tracks(*(getattr(self, field.name)[rows] for field in fields(self)))

    def joined(self, others: "Tracks") -> "Tracks":
        """Return these people, then the others."""
        pairs = ((getattr(self, field.name), getattr(others, field.name)) for field in fields(self))
        return Tracks(*(np.concatenate(pair) for pair in pairs))

    def fits(self, poses: Poses) -> bool:
        """Return whether an answer has the same keypoints and points in space."""
        joints = 0 if poses.keypoints_3d is None else poses.keypoints_3d.shape[1]
        return self.points.shape[1] == poses.keypoints.shape[1] and self.joints.shape[1] == joints

    def moved(self, time_s: float) -> tuple[Array, Array]:
        """Return the boxes (T, 4) and keypoints (T, K, 2), moved on by the velocities to `time_s`."""
        shifts = self.velocities * motion.coasted_s(np.maximum(time_s - self.seen_s, 0))[:, None]
        return self.bboxes + np.tile(shifts, 2), self.keypoints + shifts[:, None]


def begun(poses: Poses, seen: Looks, first_id: int, time_s: float) -> Tracks:
    """Return the people of an answer as new ones, with ids from `first_id` on."""
    count, keypoints = len(poses), poses.keypoints.astype(np.float64)
    boxes, scores = poses.bboxes.astype(np.float64), poses.keypoint_scores.astype(np.float64)
    joints = np.zeros((count, 0, 3)) if poses.keypoints_3d is None else poses.keypoints_3d.astype(np.float64)
    return Tracks(
        ids=first_id + np.arange(count),
        bboxes=boxes,
        bbox_scores=poses.bbox_scores.astype(np.float64),
        keypoints=keypoints,
        scores=scores,
        velocities=np.zeros((count, 2)),
        counts=np.zeros(count, np.int64),
        seen_s=np.full(count, time_s),
        detected_bboxes=boxes,
        detected_keypoints=keypoints,
        detected_scores=scores,
        points=keypoints,
        point_speeds=np.zeros_like(keypoints),
        joints=joints,
        joint_speeds=np.zeros_like(joints),
        colours=seen.colours,
        colour_weights=seen.clear,
    )


@dataclass(frozen=True, eq=False)
class State:
    """Everything that a stream keeps from one frame to the next.

    Attributes:
        tracks: the people, those of the last frame first, in the order of its answer; None when nobody is known.
        visible: number of people in the last frame.
        next_id: id of the next new person.
        time_s: time of the last frame.
        frame: number of frames so far.
        detected_frame: number of the frame of the last detection.
        detected_s: its time.
        troubles: requests without the detector in a row that did not find everybody.
        boxes_from: number of the frame from which on the detector may be left out, after such requests.
        boxes_work: False for a network that finds keypoints without boxes.
    """

    tracks: Tracks | None = None
    visible: int = 0
    next_id: int = 1
    time_s: float = -np.inf
    frame: int = 0
    detected_frame: int = -1
    detected_s: float = -np.inf
    troubles: int = 0
    boxes_from: int = 0
    boxes_work: bool = True


def sigmas(poses: Poses) -> Array:
    """Return the (K,) OKS sigmas of the keypoints; 0.08 for unknown sets."""
    known, count = poses.keypoint_set, poses.keypoints.shape[1]
    return np.array(known.sigmas) if known and len(known.sigmas) == count else np.full(count, _USUAL_SIGMA)


def body(poses: Poses) -> slice:
    """Return the rows that association compares: face and hands would outvote the body."""
    known = poses.keypoint_set
    return slice(*known.parts[_BODY]) if known and _BODY in known.parts else slice(None)
