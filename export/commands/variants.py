"""`python -m export variants`: the published networks of all families, one a line, its name first."""

import argparse

from export.families import families
from export.zoo import zoo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    for family in families().values():
        for name, facts in family.variants.items():
            weights = zoo().get(f"{name}.pth")
            print(f"{name:<34} {facts}" + (f"; weights: {weights.address}" if weights else ""))
    return 0
