"""`python -m server.manifest write|verify DIR`: SHA-256 of every file of a model repository.

The manifest has the format of `sha256sum`, so `sha256sum --check MANIFEST.sha256` reads it, too. Unlike that command,
`verify` also finds files that the manifest does not list: Triton would load them, and Python files are code.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

NAME = "MANIFEST.sha256"


def write(folder: Path) -> Path:
    """Write the manifest of `folder` into it and return its path.

    Raises:
        ValueError: the folder holds links, compiled Python, or no files.
    """
    from cigpose_client.outputs import write_file  # imported here: in a container, `verify` needs this file only

    found = _unwanted(folder)
    if found:
        raise ValueError("\n".join(found))
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in _files(folder)]
    if not lines:
        raise ValueError(f"{folder} holds no files")
    path = folder / NAME
    write_file(path, "".join(lines))
    return path


def problems(folder: Path) -> list[str]:
    """Return the differences between `folder` and its manifest, one sentence each."""
    path = folder / NAME
    if not path.is_file():
        return [f"{path} is missing; write it where the repository was built: python -m server.manifest write"]
    try:
        listed = _parse(path.read_text(encoding="utf-8"))
    except ValueError as error:
        return [f"{path}: {error}"]
    found = _unwanted(folder)
    present = set(_files(folder))
    found += [f"{name} is missing" for name in sorted(listed.keys() - present)]
    found += [f"{name} is not in the manifest" for name in sorted(present - listed.keys())]
    same = sorted(listed.keys() & present)
    return found + [f"{name} was changed" for name in same if _sha256(folder / name) != listed[name]]


def main(argv: Sequence[str] | None = None) -> int:
    """Write or verify a manifest. Return 0 without problems, else 1."""
    parser = argparse.ArgumentParser(prog="python -m server.manifest", description=__doc__)
    parser.add_argument("action", choices=("write", "verify"))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(argv)
    try:
        found = problems(options.folder) if options.action == "verify" else []
        if options.action == "write":
            print(write(options.folder))
    except ValueError as error:
        found = [str(error)]
    for problem in found:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if found else 0


def _files(folder: Path) -> list[str]:
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in paths if name != NAME)


def _unwanted(folder: Path) -> list[str]:
    """Return the links and compiled Python files, which a manifest must not contain.

    A link leads out of the hashed files. Compiled Python would run in place of the source beside it.
    """
    names = {path: path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*"))}
    links = [f"{name} is a link; copy the file itself" for path, name in names.items() if path.is_symlink()]
    caches = [f"{name} is compiled Python; remove it" for path, name in names.items() if path.suffix == ".pyc"]
    return links + caches


def _parse(text: str) -> dict[str, str]:
    listed: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        digest, separator, name = line.partition("  ")
        if not separator or len(digest) != 64 or set(digest) - set("0123456789abcdef") or not name:
            raise ValueError(f"line {number} is not a SHA-256 and a file: {line!r}")
        if name in listed:
            raise ValueError(f"line {number} lists {name} a second time")
        listed[name] = digest
    return listed


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
