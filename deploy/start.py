"""`python -m deploy.start FLAG...`: the entry point of the images. All flags are those of tritonserver.

Before it becomes tritonserver, it verifies the model repository, removes the shared memory of a killed server, and
closes the administrative API with a random key that no caller gets.
"""

import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from server import manifest
from server.access import CLOSED_APIS
from server.installation import find_installation
from server.preflight import backend_problems, profile_problems

_SHM = Path("/dev/shm")
_PREFIX_FLAG = "--backend-config=python,shm-region-prefix-name="
_PREFIX = "triton_python_backend_shm_region_"  # the Python backend's default


def main(argv: Sequence[str] | None = None) -> int:
    """Become tritonserver. Return 1 when it must not start, 2 when the flags are wrong."""
    flags = list(sys.argv[1:] if argv is None else argv)
    try:
        models = repository(flags)
    except ValueError as error:
        return _refuse([str(error)], 2)
    if found := profile_problems(models, profile(flags)):
        return _refuse(found, 2)
    try:
        installation = find_installation()
        found = [*manifest.problems(models), *backend_problems(installation, models, profile(flags), flags)]
    except ValueError as error:
        found = [str(error)]
    if found:
        return _refuse(found, 1)
    remove_stale_regions(_SHM, region_prefix(flags))
    command = [str(installation.binary), *flags, lock()]
    os.execve(command[0], command, installation.environment(os.environ))


def repository(flags: Sequence[str]) -> Path:
    """Return the DIR of the only `--model-repository=DIR` among the flags.

    Raises:
        ValueError: the flag is missing, given more than once, or not a folder but an object storage.
    """
    folders = [flag.partition("=")[2] for flag in flags if flag.startswith("--model-repository=")]
    if len(folders) != 1:
        raise ValueError(f"give --model-repository=DIR once; got {folders}")
    if "://" in folders[0]:
        raise ValueError(
            f"--model-repository={folders[0]} is an object storage, whose manifest tritonserver would not verify; "
            "copy it to a folder first, as deploy/components/object-storage does"
        )
    return Path(folders[0])


def profile(flags: Sequence[str]) -> str:
    """Return the machine profile, `--model-config-name=NAME`; empty without one."""
    return next((flag.partition("=")[2] for flag in flags if flag.startswith("--model-config-name=")), "")


def region_prefix(flags: Sequence[str]) -> str:
    """Return the prefix of the names of the Python backend's shared memory regions."""
    return next((flag.removeprefix(_PREFIX_FLAG) for flag in flags if flag.startswith(_PREFIX_FLAG)), _PREFIX)


def remove_stale_regions(folder: Path, prefix: str) -> None:
    """Remove the Python backend's regions: the volume outlives the container, so a crash loop would fill it."""
    for region in folder.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def _refuse(problems: Sequence[str], code: int) -> int:
    print("\n".join(f"error: {problem}" for problem in problems), file=sys.stderr)
    return code


def lock() -> str:
    """Return the flag that closes the administrative API, with a new random key."""
    return f"--grpc-restricted-protocol={','.join(CLOSED_APIS)}:locked={secrets.token_hex(32)}"


if __name__ == "__main__":
    sys.exit(main())
