"""Ranges of scene seeds, so that no scene is used both for training and for measurement."""

GATE = range(200)  # the accuracy gate
DEMO = range(2_000, 3_000)  # pictures of the demo and of the benchmarks
TRAIN = range(1_000_000, 2_000_000)
