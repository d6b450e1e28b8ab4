"""`python -m demo.render --seeds 0 1 2 --out DIR`: scenes as JPEG files with annotations; the last one is empty."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from cigpose_client.outputs import claim_folder, write_file

from demo.annotations import annotations
from demo.scene import render_scene
from demo.seeds import DEMO
from server.usage import CommandLine, UsageError, command, output_path

_ANNOTATIONS = "annotations.json"


def render_files(seeds: Sequence[int], folder: Path) -> Path:
    """Write `<seed>.jpg` for every seed, the last scene without people, and return the path of `annotations.json`."""
    rows = []
    for number, seed in enumerate(seeds):
        scene = render_scene(DEMO[seed], people=0 if number == len(seeds) - 1 else None)
        name = _file_name(seed)
        write_file(folder / name, scene.jpeg)
        rows.append((seed, name, scene))
    path = folder / _ANNOTATIONS
    write_file(path, json.dumps(annotations(rows)))
    return path


def _file_name(seed: int) -> str:
    return f"{seed:06d}.jpg"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = CommandLine(prog="python -m demo.render", description=__doc__)
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], help=f"below {len(DEMO)}; the last is rendered empty"
    )
    parser.add_argument("--out", type=output_path, required=True, help="folder for the pictures and annotations.json")
    options = parser.parse_args(argv)
    unknown = [seed for seed in options.seeds if not 0 <= seed < len(DEMO)]
    if unknown:
        raise UsageError(f"--seeds {unknown[0]} must be from 0 to {len(DEMO) - 1}")
    claim_folder(options.out, [*map(_file_name, options.seeds), _ANNOTATIONS])
    sys.stdout.write(f"{render_files(options.seeds, options.out)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
