"""Keypoint sets: names, sides, edges, flip pairs and OKS sigmas, read from the one data file beside this module.

The client links to both files, so this module imports the standard library only.
"""

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class KeypointSet:
    """One keypoint convention, as the dataset of that name defines it.

    Attributes:
        name: `coco_wholebody`, `coco` or `crowdpose`.
        names: K keypoint names, in the order of the network's rows.
        sides: K times `left`, `right` or `center`; the person's side, not the picture's.
        flip_indices: K indices; row i of a mirrored picture is row `flip_indices[i]` of the original.
        sigmas: K OKS constants.
        edges: pairs of keypoint indices to draw as a skeleton.
        parts: name -> (first, end) of the rows that are evaluated together.
        dimensions: 2 for points in pictures, 3 for points in space.
    """

    name: str
    names: tuple[str, ...]
    sides: tuple[str, ...]
    flip_indices: tuple[int, ...]
    sigmas: tuple[float, ...]
    edges: tuple[tuple[int, int], ...]
    parts: dict[str, tuple[int, int]]
    dimensions: int = 2

    def __len__(self) -> int:
        """Return K."""
        return len(self.names)


@functools.cache
def keypoint_sets() -> dict[str, KeypointSet]:
    """Return every keypoint set by name."""
    text = (resources.files(__package__) / "keypoint_sets.json").read_text(encoding="utf-8")
    return {name: _parse(name, entry) for name, entry in json.loads(text).items()}


def keypoint_set(name: str) -> KeypointSet:
    """Return the keypoint set called `name`.

    Raises:
        ValueError: there is no such set (the message lists those that exist).
    """
    try:
        return keypoint_sets()[name]
    except KeyError:
        raise ValueError(f"unknown keypoint set {name!r}; known: {', '.join(keypoint_sets())}") from None


def find_keypoint_set(count: int, name: str = "") -> KeypointSet | None:
    """Return the keypoint set called `name`, or without a name the first 2-D set with `count` points.

    None if there is no such set, or if the named one does not have `count` points.
    """
    if name:
        named = keypoint_sets().get(name)
        return named if named and len(named) == count else None
    flat = [known for known in keypoint_sets().values() if known.dimensions == 2]
    return next((known for known in flat if len(known) == count), None)


def keypoint_set_of_length(count: int) -> KeypointSet:
    """Return the keypoint set with `count` points.

    Raises:
        ValueError: no set has that many points.
    """
    found = find_keypoint_set(count)
    if found is None:
        known = ", ".join(f"{len(s)} ({s.name})" for s in keypoint_sets().values())
        raise ValueError(f"no keypoint set has {count} points; known: {known}")
    return found


def _parse(name: str, entry: dict[str, Any]) -> KeypointSet:
    points = entry["keypoints"]
    names = tuple(point["name"] for point in points)
    index = {point: i for i, point in enumerate(names)}
    return KeypointSet(
        name=name,
        names=names,
        sides=tuple(point["side"] for point in points),
        flip_indices=tuple(index[point["flip"]] for point in points),
        sigmas=tuple(point["sigma"] for point in points),
        edges=tuple((index[a], index[b]) for a, b in entry["edges"]),
        parts={part: (first, end) for part, (first, end) in entry["parts"].items()},
        dimensions=entry.get("dimensions", 2),
    )
