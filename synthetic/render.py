"""Scenes as files: JPEG pictures and their annotations."""

import json
from collections.abc import Sequence
from pathlib import Path

from cigpose_client.outputs import write_file

from synthetic.annotations import annotations
from synthetic.scene import render_scene
from synthetic.seeds import DEMO


def render_files(seeds: Sequence[int], folder: Path) -> Path:
    """Write `<seed>.jpg` for every seed, the last scene without people, and return the path of `annotations.json`."""
    rows = []
    for number, seed in enumerate(seeds):
        scene = render_scene(DEMO[seed], people=0 if number == len(seeds) - 1 else None)
        name = f"{seed:06d}.jpg"
        write_file(folder / name, scene.jpeg)
        rows.append((seed, name, scene))
    path = folder / "annotations.json"
    write_file(path, json.dumps(annotations(rows)))
    return path
