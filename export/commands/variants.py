"""`python -m export variants`: lists the published networks of all families, one per line, name first."""

import argparse

from export.families import families
from export.zoo import zoo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command has no arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Print the name, the facts and the address of the weights of every network."""
    for family in families().values():
        for name, facts in family.variants.items():
            weights = zoo().get(f"{name}.pth")
            print(f"{name:<34} {facts}" + (f"; weights: {weights.address}" if weights else ""))
    return 0
