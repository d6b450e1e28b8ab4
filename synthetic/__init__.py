"""Rendered people with exact keypoints: scenes, training of small networks on them, and the accuracy gate."""
