"""Checks before tritonserver starts. Every problem is reported with its remedy."""

import ctypes
import errno
import re
import socket
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from server import manifest
from server.installation import Installation, python_version
from server.options import ServerOptions
from server.usage import pem_problems

SHELL_SPECIAL = re.compile(r"[^\w./@%+=:,-]")  # Triton's Python backend starts its processes by a shell, without quotes


def problems(installation: Installation, options: ServerOptions) -> list[str]:
    """Return the problems that would keep the server from working, one sentence each."""
    found = [*_repository_problems(options.repository), *manifest_problems(options.repository)]
    found += profile_problems(options.repository, options.profile)
    found += backend_problems(installation, options.repository, options.profile, options.flags)
    found += _port_problems(options.address, options.ports)
    found += pem_problems(options.tls.certificate, options.tls.key, options.tls.client_ca) if options.tls else []
    if installation.wheel is not None:
        found += [*_numpy_problems(np.__version__), *_stub_problems(installation.wheel), *_libpython_problems()]
    return found


def _repository_problems(repository: Path) -> list[str]:
    configs = _configs(repository)
    if not configs:
        return [f"{repository} holds no models; build it with `make repository` or `python -m export repository`"]
    networks = [path.parent for path in configs if 'backend: "onnxruntime"' in path.read_text(encoding="utf-8")]
    missing = [folder.name for folder in networks if not (folder / "1" / "model.onnx").is_file()]
    if missing:
        return [f"{repository} lacks the network of {', '.join(missing)}; build it with `make repository`"]
    remedies = {str(repository.absolute()): "move the repository"}
    remedies |= {path.parent.name: "rename the network's file and build the repository again" for path in configs}
    found = [(name, special[0]) for name in remedies if (special := SHELL_SPECIAL.search(name))]
    return [f"{name} contains {char!r}, with which no Python model starts; {remedies[name]}" for name, char in found]


def _configs(repository: Path) -> list[Path]:
    return sorted(repository.glob("*/config.pbtxt"))


def profiles(repository: Path) -> list[str]:
    """Return the machine profiles that any model of a repository has."""
    return sorted({path.stem for path in repository.glob("*/configs/*.pbtxt")})


def profile_problems(repository: Path, profile: str) -> list[str]:
    """Return the problem of a profile that no model has. Triton would silently use every model's plain config."""
    known = profiles(repository)
    if not profile or profile in known or not _configs(repository):
        return []
    return [f"profile {profile!r} is unknown; the models in {repository} have {', '.join(known) or 'no profiles'}"]


def backend_problems(
    installation: Installation, repository: Path, profile: str, flags: Sequence[str] = ()
) -> list[str]:
    """Return the problem of a profile that does harm on the server's own `onnxruntime` backend (`docs/backends.md`)."""
    configs = [path.read_text(encoding="utf-8") for path in repository.glob(f"*/configs/{profile}.pbtxt")]
    if installation.has_stand_in(flags) or not any('name: "openvino"' in config for config in configs):
        return []
    return [
        f"profile {profile!r} needs the stand-in backend of this project: Triton's own onnxruntime backend ignores the "
        "precision and the threads for OpenVINO, and compiles the network again for every number of people; choose "
        "cpu or cpu-latency"
    ]


def manifest_problems(repository: Path) -> list[str]:
    """Return the differences between a repository and its manifest, if any, except compiled files of its stubs."""
    if not (repository / manifest.NAME).is_file():
        return []
    found = manifest.problems(repository)
    return [
        f"{repository}: {problem}; build the repository again, or, if you changed it on purpose, write a new manifest: "
        f"python -m server.manifest write {repository}"
        for problem in found
        if not problem.partition(" ")[0].endswith(".pyc")
    ]


def _port_problems(address: str, ports: Iterable[int]) -> list[str]:
    asked = Counter(ports)
    found = [f"port {port} of {address} is given {n} times; choose others" for port, n in asked.items() if n > 1]
    return found + list(filter(None, (_port_problem(address, port) for port in asked)))


def _port_problem(address: str, port: int) -> str:
    try:
        _bind(address, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"port {port} of {address} is in use; choose another"
        return f"port {port} of {address} cannot be listened on: {error.strerror}"
    return ""


def is_free(address: str, port: int) -> bool:
    """Return whether the port is free."""
    try:
        _bind(address, port)
    except OSError:
        return False
    return True


def _bind(address: str, port: int) -> None:
    host = address.strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _numpy_problems(version: str) -> list[str]:
    if int(version.split(".")[0]) < 2:
        return []
    return [f"numpy {version} makes this tritonserver send empty tensors; install numpy 1.26 (`make install`)"]


def _stub_problems(wheel: Path) -> list[str]:
    versions = sorted(path.name for path in (wheel / "python_backend_stubs").iterdir())
    if python_version() in versions:
        return []
    return [f"there is no Python backend for Python {python_version()}; use one of {', '.join(versions)}"]


def _libpython_problems() -> list[str]:
    name = f"libpython{python_version()}.so.1.0"
    folder = Path(sysconfig.get_config_var("LIBDIR") or sys.prefix)
    try:
        ctypes.CDLL(str(folder / name) if (folder / name).exists() else name, mode=ctypes.RTLD_LOCAL)
    except OSError:
        return [f"{name} is missing; install it (Debian: apt-get install libpython{python_version()})"]
    return []
