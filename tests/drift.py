"""`python -m tests.drift`: exit code 1 when generated files differ from what their generator writes now.

Of the default repository, git keeps each model's config and adapter. The other configs (machine profiles, the default
network's ensembles under its own name) are pinned by their digests in `tests/rendered.sha256`, which `--write` updates.
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from export.repository import build_repository

_CHECKOUT = Path(__file__).parents[1]
_REPOSITORY = _CHECKOUT / "model_repository"
_DIGESTS = _CHECKOUT / "tests" / "rendered.sha256"


def main() -> int:
    """Render the repository of the default weights, compare it with the committed files and digests."""
    written = _rendered()
    configs = sorted(name for name in written if name.endswith(".pbtxt"))
    digests = "".join(f"{hashlib.sha256(written[name]).hexdigest()}  {name}\n" for name in configs)
    if sys.argv[1:] == ["--write"]:
        _DIGESTS.write_text(digests, encoding="utf-8")
    listing = subprocess.run(
        ["git", "ls-files", "*.pbtxt", "*.py"], cwd=_REPOSITORY, check=True, capture_output=True, text=True
    ).stdout.split()
    different = [name for name in listing if written.get(name) != (_REPOSITORY / name).read_bytes()]
    pinned = _DIGESTS.read_text(encoding="utf-8").splitlines()
    different += sorted({line.split()[1] for line in {*pinned} ^ {*digests.splitlines()}} - {*different})
    if different:
        print(f"not what the generator writes: {', '.join(different)}", file=sys.stderr)
        print("run `make repository` and `python -m tests.drift --write`, and commit", file=sys.stderr)
    return 1 if different else 0


def _rendered() -> dict[str, bytes]:
    """Return the text of every config and adapter by its path in the repository."""
    (pose,), (detector,) = (sorted((_CHECKOUT / "weights").glob(pattern)) for pattern in ("cigpose-*", "yolox-*"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_repository([pose], detector, folder)
        paths = [*folder.rglob("*.pbtxt"), *folder.glob("*/1/model.py")]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


if __name__ == "__main__":
    sys.exit(main())
