"""Finds tritonserver: on PATH (NVIDIA's image), or inside the nvidia-pytriton wheel."""

import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_STAND_INS = Path(__file__).with_name("backends")
# glibc returns the memory of every freed picture to the kernel, which clears pages for the next one. That takes a third
# of the time of decoding a JPEG. So blocks up to 32 MiB (glibc's largest threshold) stay in the heap, and up to 64 MiB
# of free heap are kept.
_KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
# The Python backend counts instances up and reads the count afterwards, for the name of their shared memory. Two
# instances that start in the same moment can get the same memory, and abort the server with a `lock_exception`.
_ONE_INSTANCE_AFTER_THE_OTHER = {"TRITON_PARALLEL_INSTANCE_LOADING": "0"}
_DEFAULTS = _KEEP_FREED_MEMORY | _ONE_INSTANCE_AFTER_THE_OTHER


@dataclass(frozen=True)
class Installation:
    """A tritonserver and its environment.

    Attributes:
        binary: the executable.
        wheel: the server tree inside the wheel; None for a server on PATH, which has its own backends.
    """

    binary: Path
    wheel: Path | None = None

    def make_backends(self, folder: Path) -> Path | None:
        """Create a private backend directory: the Python backend, this Python's stub, and the stand-ins.

        Returns:
            the directory; None for a server on PATH.
        """
        if self.wheel is None:
            return None
        shutil.copytree(
            _STAND_INS, folder, ignore=shutil.ignore_patterns("__*")
        )  # Triton rejects links that lead outside
        python = shutil.copytree(self.wheel / "backends" / "python", folder / "python")
        shutil.copy(self.wheel / "python_backend_stubs" / python_version() / "triton_python_backend_stub", python)
        return folder

    def has_stand_in(self, flags: Sequence[str] = ()) -> bool:
        """Return whether networks run in the stand-in backend: inside the wheel, or in a directory among the flags."""
        folders = [flag.partition("=")[2] for flag in flags if flag.startswith("--backend-directory=")]
        stand_ins = [Path(folder, "onnxruntime", "model.py").is_file() for folder in folders]
        return stand_ins[-1] if stand_ins else self.wheel is not None

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return the server's environment: PATH with this interpreter first, library paths, and defaults."""
        if self.wheel is None:
            return {**_DEFAULTS, **inherited}
        libraries = [str(self.wheel.parents[1] / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR") or ""]
        return {
            **_DEFAULTS,
            **inherited,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", "")]),
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [*libraries, inherited.get("LD_LIBRARY_PATH", "")])),
            "PYTHONDONTWRITEBYTECODE": "1",
        }


def find_installation() -> Installation:
    """Return the tritonserver on PATH if there is one, else the wheel's.

    Raises:
        ValueError: there is neither; the message states what to install.
    """
    on_path = shutil.which("tritonserver")
    if on_path:
        return Installation(Path(on_path))
    package = importlib.util.find_spec("pytriton")
    if package is None or package.origin is None:
        raise ValueError("no tritonserver on PATH and no nvidia-pytriton in this Python; run `make install`")
    wheel = Path(package.origin).parent / "tritonserver"
    return Installation(wheel / "bin" / "tritonserver", wheel)


def python_version() -> str:
    """Return major.minor of this interpreter, the name of its folder of stubs."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"
