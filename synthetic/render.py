"""`python -m synthetic.render --seeds 0 1 2 --out DIR`: JPEG scenes with annotations; the last scene is empty."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from synthetic.annotations import annotations
from synthetic.scene import render_scene
from synthetic.seeds import DEMO


def render_files(seeds: Sequence[int], folder: Path) -> Path:
    """Write `<seed>.jpg` for every seed, the last scene without people, and return the path of `annotations.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, seed in enumerate(seeds):
        scene = render_scene(DEMO[seed], people=0 if number == len(seeds) - 1 else None)
        name = f"{seed:06d}.jpg"
        (folder / name).write_bytes(scene.jpeg)
        rows.append((seed, name, scene))
    path = folder / "annotations.json"
    path.write_text(json.dumps(annotations(rows)), encoding="utf-8")
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m synthetic.render", description=__doc__)
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], help=f"below {len(DEMO)}; the last is rendered empty"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures and annotations.json")
    options = parser.parse_args(argv)
    sys.stdout.write(f"{render_files(options.seeds, options.out)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
