"""`python -m export variants`: the published networks, one a line, its name first."""

import argparse

from export.families.cigpose.variants import BENCHMARKS, SOURCE, VARIANTS, Variant
from export.zoo import zoo

_COLUMNS = "{:<34} {:>10} {:>8} {:>7}  {}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    for variant in VARIANTS.values():
        print(_line(variant))
    return 0


def _line(variant: Variant) -> str:
    width, height = variant.input_size
    return _COLUMNS.format(
        variant.name,
        f"{variant.num_keypoints} points",
        f"{height}x{width}",
        f"{(variant.parameters or 0) / 1e6:.1f} M",
        f"AP {variant.average_precision} on {BENCHMARKS[variant.keypoint_set]}, with flip test ({SOURCE}); "
        f"weights: {zoo()[f'{variant.name}.pth'].address}",
    )
