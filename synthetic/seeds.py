"""Which scene seeds are for what, so that no picture is both learned from and measured on."""

GATE = range(200)  # the accuracy gate
CHECK = range(1_000, 1_100)  # watched during training
DEMO = range(2_000, 3_000)  # shown to people
TRAIN = range(1_000_000, 2_000_000)
