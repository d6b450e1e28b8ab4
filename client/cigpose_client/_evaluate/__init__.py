"""Accuracy through the server: average precision as COCO, COCO-WholeBody and CrowdPose define it."""
