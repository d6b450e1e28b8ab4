"""Skeletons drawn into pictures: sides by colour family, body, feet, hands and face by tone and line width."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cigpose_client._extras import opencv
from cigpose_client._keypoints import KeypointSet, find_keypoint_set
from cigpose_client._poses import FloatArray, Poses

Pixels: TypeAlias = npt.NDArray[np.uint8]
Color: TypeAlias = tuple[int, int, int]

DEFAULT_THRESHOLD = 0.3
"""Keypoints with a lower SimCC score are left out: COCO's metric counts from 0.2 on, sharp points reach 0.6 to 0.9."""

# BGR. Left is cool, right is warm.
_COLORS: dict[str, dict[str, Color]] = {
    "body": {"left": (255, 150, 40), "right": (30, 120, 255), "center": (90, 220, 120)},
    "foot": {"left": (230, 220, 70), "right": (60, 200, 255), "center": (90, 220, 120)},
    "head": {"left": (255, 150, 40), "right": (30, 120, 255), "center": (90, 220, 120)},
    "hand": {"left": (245, 110, 170), "right": (110, 80, 245), "center": (200, 90, 220)},
    "face": {"left": (90, 255, 255), "right": (90, 255, 255), "center": (90, 255, 255)},
}
_WIDTHS = {"body": 1.0, "foot": 0.7, "head": 0.45, "hand": 0.25, "face": 0.2}  # of the person's line width
_HEAD = {"nose", "left_eye", "right_eye", "left_ear", "right_ear"}
_SIZE_PER_WIDTH = 75.0  # a person of 75 x 75 pixels has lines of one pixel
_RIM_FROM = 0.9  # pixels of line width
_OUTLINE: Color = (25, 25, 25)
_SUBPIXEL_BITS = 4

# The 68 points of a face, in their order: jaw, eyebrows, bridge and wings of the nose; eyes, outer and inner lip.
_FACE_OPEN = ((0, 17), (17, 22), (22, 27), (27, 31), (31, 36))
_FACE_CLOSED = ((36, 42), (42, 48), (48, 60), (60, 68))


@dataclass(frozen=True)
class _Stroke:
    """A line between two rows of keypoints, or a dot at one."""

    rows: tuple[int, ...]
    part: str
    side: str


@dataclass(frozen=True, eq=False)
class _Run:
    """Lines (M, 2), or dots (M, 1), of one look: rows of keypoints."""

    rows: npt.NDArray[np.int_]
    part: str
    side: str


def draw_poses(image_bgr: Pixels, poses: Poses, threshold: float = DEFAULT_THRESHOLD) -> Pixels:
    """Return a copy of the picture with the skeletons of all people, small ones below large ones.

    Args:
        image_bgr: (H, W, 3) uint8, the upright picture.
        poses: its people.
        threshold: keypoints with a lower score are left out.

    Raises:
        ModuleNotFoundError: OpenCV is not installed (extra `draw`).
    """
    canvas = np.ascontiguousarray(image_bgr).copy()
    draw_onto(canvas, poses, threshold)
    return canvas


def draw_onto(canvas: Pixels, poses: Poses, threshold: float) -> None:
    """Do as `draw_poses` does, on the picture itself."""
    cv2 = opencv("drawing")
    runs = _runs(poses.keypoints.shape[1])
    sizes = np.sqrt(np.prod(np.maximum(poses.bboxes[:, 2:] - poses.bboxes[:, :2], 1), axis=1))
    for person in np.argsort(sizes):
        points = poses.keypoints[person]
        shown = (poses.keypoint_scores[person] >= threshold) & np.isfinite(points).all(axis=1)
        _draw_person(cv2, canvas, points, shown, runs, float(sizes[person]) / _SIZE_PER_WIDTH)


def _draw_person(
    cv2: Any, canvas: Pixels, points: FloatArray, shown: npt.NDArray[np.bool_], runs: tuple[_Run, ...], width: float
) -> None:
    fixed = np.rint(np.nan_to_num(points).clip(-1e6, 1e6) * 2.0**_SUBPIXEL_BITS).astype(np.int32)
    visible = [(run, fixed[run.rows[shown[run.rows].all(axis=1)]]) for run in runs]
    for run, ends in visible:  # a dark rim keeps lines legible on any background; thin ones would drown in it
        if width * _WIDTHS[run.part] >= _RIM_FROM:
            _draw(cv2, canvas, ends, _OUTLINE, width * _WIDTHS[run.part] + 2)
    for run, ends in visible:
        _draw(cv2, canvas, ends, _COLORS[run.part][run.side], width * _WIDTHS[run.part])


def _draw(cv2: Any, canvas: Pixels, ends: npt.NDArray[np.int32], color: Color, width: float) -> None:
    """Draw lines between the ends (M, 2, 2), or dots where they are (M, 1, 2), in one call where that is possible."""
    if ends.shape[1] == 2:
        cv2.polylines(canvas, list(ends), False, color, max(1, round(width)), cv2.LINE_AA, _SUBPIXEL_BITS)
        return
    radius = round(max(0.8, width * 0.8) * 2**_SUBPIXEL_BITS)
    for center in ends[:, 0].tolist():
        cv2.circle(canvas, center, radius, color, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)


@functools.cache
def _runs(count: int) -> tuple[_Run, ...]:
    """Return what is drawn for `count` keypoints; all of one look together, which saves most of the calls."""
    looks: dict[tuple[str, str, int], list[tuple[int, ...]]] = {}
    for stroke in _strokes(find_keypoint_set(count), count):
        looks.setdefault((stroke.part, stroke.side, len(stroke.rows)), []).append(stroke.rows)
    return tuple(_Run(np.array(rows), part, side) for (part, side, _), rows in looks.items())


def _strokes(known: KeypointSet | None, count: int) -> Iterator[_Stroke]:
    """Yield lines, then dots, face first: what matters most is drawn last."""
    if known is None:
        yield from (_Stroke((row,), "body", "center") for row in range(count))
        return
    part = _part_of(known)
    first = known.parts.get("face", (0, 0))[0]
    if "face" in known.parts:
        yield from (_Stroke((first + a, first + b), "face", "center") for a, b in _face_edges())
    for a, b in known.edges:
        names = {part(a), part(b)} - {"body"}  # a line from the body to a foot or an ear is of the foot, the ear
        yield _Stroke((a, b), max(names, default="body"), _shared(known.sides[a], known.sides[b]))
    yield from (_Stroke((row,), part(row), known.sides[row]) for row in range(len(known)) if part(row) != "face")


def _part_of(known: KeypointSet) -> Callable[[int], str]:
    names = {row: name.split("_")[-1] for name, rows in known.parts.items() for row in range(*rows)}
    names |= {row: "head" for row, name in enumerate(known.names) if name in _HEAD}
    return lambda row: names.get(row, "body")


def _shared(a: str, b: str) -> str:
    """Return the side of a line between points of sides `a` and `b`."""
    sides = {a, b} - {"center"}
    return sides.pop() if len(sides) == 1 else "center"


def _face_edges() -> Iterator[tuple[int, int]]:
    for first, end in _FACE_OPEN + _FACE_CLOSED:
        yield from zip(range(first, end - 1), range(first + 1, end), strict=True)
    yield from ((end - 1, first) for first, end in _FACE_CLOSED)
