"""`python -m tests.drift`: exit code 1 when a committed config differs from what the generator writes now."""

import subprocess
import sys
import tempfile
from pathlib import Path

from export.repository import build_repository

_CHECKOUT = Path(__file__).parents[1]
_REPOSITORY = _CHECKOUT / "model_repository"


def main() -> int:
    """Generate the repository of the default weights and compare its configs with the committed ones."""
    (pose,), (detector,) = (sorted((_CHECKOUT / "weights").glob(pattern)) for pattern in ("cigpose-*", "yolox-*"))
    with tempfile.TemporaryDirectory() as folder:
        build_repository([pose], detector, Path(folder))
        written = {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*.pbtxt")}
    listing = subprocess.run(
        ["git", "ls-files", "*.pbtxt"], cwd=_REPOSITORY, check=True, capture_output=True, text=True
    ).stdout.split()
    committed = {Path(name): (_REPOSITORY / name).read_bytes() for name in listing}
    different = sorted(str(p) for p in written.keys() | committed.keys() if written.get(p) != committed.get(p))
    if different:
        print(f"out of date: {', '.join(different)}; run `make repository` and commit", file=sys.stderr)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
