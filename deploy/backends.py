"""`python -m deploy.backends DIR`: lay out the backend directory of the wheel's server, when an image is built."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from server.installation import find_installation


def main(argv: Sequence[str] | None = None) -> int:
    """Lay it out; a server that brings its own backends is an error here."""
    parser = argparse.ArgumentParser(prog="python -m deploy.backends", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(argv).folder
    if find_installation().make_backends(folder) is None:
        print("error: the tritonserver on PATH brings its own backends", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
