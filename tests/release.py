"""`python -m tests.release`: the checks of a release, on a clean clone of the last commit, with results in out/release.

It builds the client's wheel and sdist, checks them with twine, builds the wheel from the sdist once more, installs it,
compares its version with CHANGELOG.md, writes an SBOM of each image's requirements, and lists the licences of all
packages of the environment. Exit status 0 only if everything is in order.
"""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_CHECKOUT = Path(__file__).parents[1]
_OUT = _CHECKOUT / "out" / "release"
_TOOLS = _OUT / "venv" / "bin"
_IMAGES = ("gpu", "cpu")
_REFUSED = re.compile(r"\bA?GPL|UNKNOWN|Proprietary", re.IGNORECASE)  # LGPL is allowed


def main() -> int:
    """Run every check, also after a failure."""
    clone = _clone()
    found = [*changelog_problems(clone), *_distribution_problems(clone)]
    for image in _IMAGES:
        requirements = clone / "deploy" / "docker" / f"requirements-{image}.txt"
        sbom = _OUT / f"sbom-{image}.json"
        _tool("cyclonedx-py", "requirements", requirements, "--output-reproducible", "--of", "JSON", "-o", sbom)
        found += sbom_problems(requirements.read_text(encoding="utf-8"), json.loads(sbom.read_text(encoding="utf-8")))
    found += licence_problems(_licences())
    for problem in found:
        print(f"error: {problem}", file=sys.stderr)
    print(f"results are in {_OUT}")
    return 1 if found else 0


def changelog_problems(checkout: Path) -> Iterator[str]:
    """Yield a difference between the client's version and the newest one of the changelog."""
    version = re.findall(r'^version = "(.+)"$', (checkout / "client" / "pyproject.toml").read_text(), re.M)[0]
    released = re.findall(r"^## \[(\d[^]]*)\] - \d{4}-\d\d-\d\d$", (checkout / "CHANGELOG.md").read_text(), re.M)
    if released[:1] != [version]:
        yield f"the client is {version}, the newest version in CHANGELOG.md {', '.join(released[:1]) or 'missing'}"


def sbom_problems(requirements: str, sbom: Mapping[str, Any]) -> Iterator[str]:
    """Yield the pinned packages that an SBOM lacks."""
    pins = set(re.findall(r"^([\w.-]+)==(\S+)", requirements, re.M))
    listed = {(component["name"], component.get("version")) for component in sbom.get("components", [])}
    if not pins:
        yield "the requirements pin no package"
    for name, version in sorted(pins - listed):
        yield f"the SBOM lacks {name} {version}"


def licence_problems(packages: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield the packages whose licence is unknown, or forbids use without publishing one's own source."""
    if not packages:
        yield "no package was found"
    for package in packages:
        if _REFUSED.search(package["License"]):
            yield f"{package['Name']} {package['Version']} has the licence {package['License']}"


def _clone() -> Path:
    for name in ("clone", "dist", "again", "installed"):
        shutil.rmtree(_OUT / name, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", _CHECKOUT, _OUT / "clone"], check=True)
    return _OUT / "clone"


def _distribution_problems(clone: Path) -> Iterator[str]:
    """Build wheel and sdist, and yield what is wrong with them."""
    _tool("python", "-m", "build", "--no-isolation", "--outdir", _OUT / "dist", clone / "client")
    (wheel,), (sdist,) = (list((_OUT / "dist").glob(pattern)) for pattern in ("*.whl", "*.tar.gz"))
    _tool("twine", "check", "--strict", wheel, sdist)
    _tool("python", "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", _OUT / "again", sdist)
    if _contents(wheel) != _contents(_OUT / "again" / wheel.name):
        yield "the wheel of the sdist differs from the wheel of the checkout"
    _tool("python", "-m", "pip", "install", "-q", "--no-deps", "--target", _OUT / "installed", wheel)
    if not (_OUT / "installed" / "bin" / "cigpose-client").is_file():
        yield "the wheel installs no cigpose-client"


def _contents(wheel: Path) -> dict[str, int]:
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist() if "dist-info/RECORD" not in entry.filename}


def _licences() -> list[dict[str, str]]:
    """Return name, version and licence of every installed package, and write them as a table."""
    options = ["--python", sys.executable, "--from=mixed", "--with-urls"]
    _tool("pip-licenses", *options, "--format=markdown", "--output-file", _OUT / "licences.md")
    listed: list[dict[str, str]] = json.loads(_tool("pip-licenses", *options, "--format=json"))
    return listed


def _tool(name: str, *arguments: str | Path) -> str:
    """Run a program of the release's environment and return its output.

    Raises:
        subprocess.CalledProcessError: it has failed; its messages are on stderr.
    """
    command = [str(_TOOLS / name), *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
