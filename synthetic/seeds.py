"""Ranges of scene seeds, so that no scene is used both for training and for measurement."""

GATE = range(200)  # the accuracy gate
DEMO = range(2_000, 3_000)  # pictures of the demo and of the benchmarks
FILMS = range(3_000, 4_000)  # films of the tests and measurements of streams
TUNING_FILMS = range(4_000, 5_000)  # films by which the parameters of streams were chosen
TRAIN = range(1_000_000, 2_000_000)
