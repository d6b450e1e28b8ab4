"""Where a tritonserver is: on PATH (NVIDIA's image), or inside the nvidia-pytriton wheel."""

import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_STAND_INS = Path(__file__).with_name("backends")
# glibc gives every freed picture back to the kernel, which clears the same pages anew for the next one: a third of the
# time of decoding a JPEG. Blocks up to 32 MiB (glibc's largest threshold) stay in the heap, 64 MiB of it when free.
_KEEP_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}


@dataclass(frozen=True)
class Installation:
    """A tritonserver and what it needs around it.

    Attributes:
        binary: the executable.
        wheel: the server tree inside the wheel; None for a server found on PATH, which brings its own backends.
    """

    binary: Path
    wheel: Path | None = None

    def make_backends(self, folder: Path) -> Path | None:
        """Lay out a private backend directory: Python backend, this Python's stub, and our stand-ins.

        Returns:
            the directory, or None where the server's own one is right.
        """
        if self.wheel is None:
            return None
        shutil.copytree(
            _STAND_INS, folder, ignore=shutil.ignore_patterns("__*")
        )  # Triton refuses links that lead outside
        python = shutil.copytree(self.wheel / "backends" / "python", folder / "python")
        shutil.copy(self.wheel / "python_backend_stubs" / python_version() / "triton_python_backend_stub", python)
        return folder

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return the server's environment: this interpreter first, the wheel's libraries, the allocator's settings."""
        if self.wheel is None:
            return {**_KEEP_FREED_MEMORY, **inherited}
        libraries = [str(self.wheel.parents[1] / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR") or ""]
        return {
            **_KEEP_FREED_MEMORY,
            **inherited,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", "")]),
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [*libraries, inherited.get("LD_LIBRARY_PATH", "")])),
            "PYTHONDONTWRITEBYTECODE": "1",
        }


def find_installation() -> Installation:
    """Return the tritonserver on PATH if there is one, else the wheel's.

    Raises:
        ValueError: there is neither; the message says what to install.
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
    """Return major.minor of this interpreter, as the stubs' folders are named."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"
