"""The steps of the pose pipeline as plain numpy functions, the keypoint sets, and the graph that wires the steps."""
