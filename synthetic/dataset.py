"""Rendered scenes in one file, so that each is rendered only once for training."""

import multiprocessing
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cigpose_client.outputs import replacing
from numpy.typing import NDArray

from synthetic.annotations import annotated_visibility
from synthetic.scene import render_scene

_WORKERS = 2
_Row = tuple[bytes, NDArray[np.float32], NDArray[np.uint8], NDArray[np.float32]]


@dataclass(frozen=True)
class Dataset:
    """S encoded scenes with P people in total.

    Attributes:
        jpegs: the concatenated encoded pictures, uint8.
        offsets: (S + 1,) first byte of each picture.
        people: (S + 1,) index of the first person of each scene.
        points: (P, 133, 2) float32 pixels.
        visible: (P, 133) uint8, as annotated.
        bbox_xyxy: (P, 4) float32 pixels.
    """

    jpegs: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    people: NDArray[np.int64]
    points: NDArray[np.float32]
    visible: NDArray[np.uint8]
    bbox_xyxy: NDArray[np.float32]

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self.offsets) - 1

    def jpeg(self, scene: int) -> bytes:
        """Return one encoded picture."""
        return self.jpegs[self.offsets[scene] : self.offsets[scene + 1]].tobytes()

    def people_of(self, scene: int) -> slice:
        """Return the rows of one scene's people."""
        return slice(int(self.people[scene]), int(self.people[scene + 1]))


def load_or_render(path: Path, seeds: Sequence[int]) -> Dataset:
    """Return the scenes of `seeds` from the file at `path`; without that file, render them and write it."""
    if not path.exists():
        content = vars(render_dataset(seeds))
        with replacing(path) as file:
            np.savez(file, **content)
    with np.load(path) as arrays:
        return Dataset(**{name: arrays[name] for name in arrays.files})


def render_dataset(seeds: Sequence[int]) -> Dataset:
    """Render the scenes of `seeds` in several processes."""
    rows: list[_Row] = []
    begin = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(_WORKERS) as pool:
        for row in pool.imap(_render, seeds, chunksize=16):
            rows.append(row)
            if len(rows) % 500 == 0:
                rate = len(rows) / (time.perf_counter() - begin)
                sys.stderr.write(f"rendered {len(rows)} of {len(seeds)} scenes, {rate:.0f} a second\n")
    return collect(rows)


def collect(rows: Sequence[_Row]) -> Dataset:
    """Join rendered scenes."""
    jpegs, points, visible, boxes = zip(*rows, strict=True)
    return Dataset(
        jpegs=np.frombuffer(b"".join(jpegs), np.uint8),
        offsets=np.cumsum([0, *(len(jpeg) for jpeg in jpegs)]),
        people=np.cumsum([0, *(len(box) for box in boxes)]),
        points=np.concatenate(points),
        visible=np.concatenate(visible),
        bbox_xyxy=np.concatenate(boxes),
    )


def _render(seed: int) -> _Row:
    scene = render_scene(seed)
    people = scene.people
    return (
        scene.jpeg,
        np.array([person.points for person in people], np.float32).reshape(-1, 133, 2),
        np.array([annotated_visibility(person) for person in people], np.uint8).reshape(-1, 133),
        np.array([person.bbox_xyxy for person in people], np.float32).reshape(-1, 4),
    )
