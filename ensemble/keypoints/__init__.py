"""Keypoint sets, found by name."""

from ensemble.keypoints.sets import (
    KeypointSet,
    find_keypoint_set,
    keypoint_set,
    keypoint_set_of_length,
    keypoint_sets,
)

__all__ = ["KeypointSet", "find_keypoint_set", "keypoint_set", "keypoint_set_of_length", "keypoint_sets"]
