"""Keypoint sets: names, sides, edges and OKS sigmas, from the data file that the server's steps read as well."""

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class KeypointSet:
    """One keypoint convention.

    Attributes:
        name: `coco_wholebody`, `coco` or `crowdpose`.
        names: K keypoint names, in the order of `Poses.keypoints`.
        sides: K times `left`, `right` or `center`; the person's side, not the picture's.
        sigmas: K constants of the object keypoint similarity (OKS).
        edges: pairs of keypoint indices to draw as a skeleton.
        parts: name -> (first, end) of the rows that are evaluated together.
    """

    name: str
    names: tuple[str, ...]
    sides: tuple[str, ...]
    sigmas: tuple[float, ...]
    edges: tuple[tuple[int, int], ...]
    parts: dict[str, tuple[int, int]]

    def __len__(self) -> int:
        """Return K."""
        return len(self.names)


@functools.cache
def keypoint_sets() -> dict[str, KeypointSet]:
    """Return every known keypoint set by name."""
    text = (resources.files(__package__) / "keypoint_sets.json").read_text(encoding="utf-8")
    return {name: _parse(name, entry) for name, entry in json.loads(text).items()}


def keypoint_set_of(count: int) -> KeypointSet | None:
    """Return the set with `count` keypoints (133, 17 and 14 identify theirs), or None for a network of another kind."""
    return next((known for known in keypoint_sets().values() if len(known) == count), None)


def _parse(name: str, entry: dict[str, Any]) -> KeypointSet:
    points = entry["keypoints"]
    names = tuple(point["name"] for point in points)
    index = {point: row for row, point in enumerate(names)}
    return KeypointSet(
        name=name,
        names=names,
        sides=tuple(point["side"] for point in points),
        sigmas=tuple(point["sigma"] for point in points),
        edges=tuple((index[a], index[b]) for a, b in entry["edges"]),
        parts={part: (first, end) for part, (first, end) in entry["parts"].items()},
    )
