"""The graphs of CIGPose's head: keypoint connections and groups for each keypoint set.

They are part of the network: another graph makes the weights worthless. They are not the skeletons people draw, which
stand in `ensemble/keypoints/keypoint_sets.json`. Source: configs of the CIGPose official repository, commit b7444d8;
all variants of one keypoint set share one table.

Notation of connections: `5-7-9` is a path, `23..39` the path through every index of the range, `59..64-59` a closed
one, `0*50..53` a star that joins 0 with each of the range. Notation of groups: `5,7,9` or `23..39`.
"""

import functools
import itertools
from dataclasses import dataclass

_HEAD_AND_BODY = "0-1-3-5-7-9 0-2-4-6-8-10 1-2 5-6 5-11-13-15 6-12-14-16 11-12 0*3..6"
_FEET = "15-17-19-18-15-19 16-20-22-21-16-22"
_FACE_CONTOURS = "23..39 40..44 45..49 50..53 54..58 59..64-59 65..70-65 71..82-71 83..90-83"
_FACE_BRIDGES = "44-62-50-65-45-50-44 53-54-74-58-53-56-74 71-74-77-80-71-83 77-87"
_FACE_TO_HEAD = "0*50..53 1*65..70 2*59..64 3*37..39 4*23..25"
_LEFT_HAND = "91..95 91-96..99 91-100..103 91-104..107 91-108..111 9*91..92"
_RIGHT_HAND = "112..116 112-117..120 112-121..124 112-125..128 112-129..132 10*112..113"
_BODY_GROUPS = "0..4 5,7,9 6,8,10 11,12 11,13,15 12,14,16"
_FACE_GROUPS = "23..39 40..44 45..49 50..58 59..64 65..70 71..90 23..90"
_HAND_GROUPS = (
    "91..111 92..95 96..99 100..103 104..107 108..111 9,91 112..132 113..116 117..120 121..124 125..128 129..132 10,112"
)
_FOOT_GROUPS = "17..19 20..22 15,17..19 16,20..22"

_NOTATION = {  # keypoint set -> connections, groups
    "coco_wholebody": (
        " ".join(
            (_HEAD_AND_BODY, _FEET, _FACE_CONTOURS, _FACE_BRIDGES, _FACE_TO_HEAD, _LEFT_HAND, _RIGHT_HAND),
        ),
        " ".join((_BODY_GROUPS, _FACE_GROUPS, _HAND_GROUPS, _FOOT_GROUPS)),
    ),
    "coco": ("0-1-2-0 1-3-5-7-9 2-4-6-8-10 5-6-12-11-5 11-13-15 12-14-16", _BODY_GROUPS),
    "crowdpose": ("4-2-0-13-1-3-5 12-13 0-6-8-10 1-7-9-11 6-7", "0,2,4 1,3,5 6,7 6,8,10 7,9,11 13,6,7 13,12"),
}


@dataclass(frozen=True)
class Graph:
    """Connections and groups of one keypoint set.

    Attributes:
        connections: undirected pairs of keypoint indices, no duplicates, no self-loops.
        groups: keypoint indices of each group; groups overlap, and every keypoint is in at least one.
    """

    connections: tuple[tuple[int, int], ...]
    groups: tuple[tuple[int, ...], ...]


@functools.cache
def graph(keypoint_set: str) -> Graph:
    """Return the graph of a keypoint set.

    Raises:
        ValueError: CIGPose has no graph for that set.
    """
    if keypoint_set not in _NOTATION:
        raise ValueError(f"no graph for keypoint set {keypoint_set!r}; known: {', '.join(_NOTATION)}")
    connections, groups = _NOTATION[keypoint_set]
    pairs = tuple(pair for token in connections.split() for pair in _pairs(token))
    return Graph(connections=pairs, groups=tuple(_indices(token.split(",")) for token in groups.split()))


def _pairs(token: str) -> list[tuple[int, int]]:
    if "*" in token:
        center, others = token.split("*")
        return [(int(center), other) for other in _indices([others])]
    path = _indices(token.split("-"))
    return list(itertools.pairwise(path))


def _indices(parts: list[str]) -> tuple[int, ...]:
    ranges = [tuple(map(int, part.split(".."))) for part in parts]
    return tuple(index for bounds in ranges for index in range(bounds[0], bounds[-1] + 1))
