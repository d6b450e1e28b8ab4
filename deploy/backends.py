"""`python -m deploy.backends DIR`: creates the backend directory of the wheel's server when an image is built."""

import sys
from collections.abc import Sequence

from server.installation import find_installation
from server.usage import CommandLine, UsageError, command, output_path


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Create the directory. A server with its own backends is an error."""
    parser = CommandLine(prog="python -m deploy.backends", description=__doc__)
    parser.add_argument("folder", type=output_path, help="the directory to create; it must not exist")
    folder = parser.parse_args(argv).folder
    if folder.exists():
        raise UsageError(f"{folder} exists; choose another folder")
    if find_installation().make_backends(folder) is None:
        raise ValueError("the tritonserver on PATH has its own backends")
    return 0


if __name__ == "__main__":
    sys.exit(main())
