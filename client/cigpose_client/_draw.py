"""Drawing of people. Colour families show the sides; tone and line width show body, feet, hands and face.

People of a stream have one colour each instead.
"""

import colorsys
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from cigpose_client._extras import opencv
from cigpose_client._keypoints import KeypointSet, find_keypoint_set
from cigpose_client._poses import FloatArray, Poses

Pixels: TypeAlias = npt.NDArray[np.uint8]
Color: TypeAlias = tuple[int, int, int]
Labels: TypeAlias = Literal["none", "index", "score", "id"]

DEFAULT_THRESHOLD = 0.3
"""Keypoints with a lower score are not drawn. COCO counts scores above 0.2; sharp peaks reach 0.6 to 0.9."""

BOTTOM_UP_THRESHOLD = 0.05
"""The same for bottom-up networks, whose keypoint scores are products of two heights."""

PARTS = ("body", "hands", "face", "feet")
LABELS: tuple[Labels, ...] = get_args(Labels)

# BGR. Left is cool, right is warm.
COLORS: dict[str, dict[str, Color]] = {
    "body": {"left": (255, 150, 40), "right": (30, 120, 255), "center": (90, 220, 120)},
    "foot": {"left": (230, 220, 70), "right": (60, 200, 255), "center": (90, 220, 120)},
    "head": {"left": (255, 150, 40), "right": (30, 120, 255), "center": (90, 220, 120)},
    "hand": {"left": (245, 110, 170), "right": (110, 80, 245), "center": (200, 90, 220)},
    "face": {"left": (90, 255, 255), "right": (90, 255, 255), "center": (90, 255, 255)},
}
_WIDTHS = {"body": 1.0, "foot": 0.7, "head": 0.45, "hand": 0.25, "face": 0.2}  # of the person's line width
_PART_OF = {"body": "body", "head": "body", "foot": "feet", "hand": "hands", "face": "face"}  # look -> one of PARTS
_HEAD = {"nose", "left_eye", "right_eye", "left_ear", "right_ear"}
_SIZE_PER_WIDTH = 75.0  # a person of 75 x 75 pixels has lines of one pixel
_RIM_FROM = 0.9  # pixels of line width, from which on lines have a dark rim
_OUTLINE: Color = (25, 25, 25)
_BOX: Color = (235, 235, 235)
_BOX_WIDTH = 0.5  # of the person's line width
_TEXT_HEIGHTS = (10.0, 28.0)  # smallest and largest, in pixels
_TEXT_PER_SIZE = 0.08  # of the person's size
_SUBPIXEL_BITS = 4
_GOLDEN_RATIO = 0.6180339887  # steps of the hue by it come close to none of the earlier ones

# Rows of the 68 face keypoints. Open lines: jaw, eyebrows, bridge and wings of the nose. Closed: eyes and lips.
_FACE_OPEN = ((0, 17), (17, 22), (22, 27), (27, 31), (31, 36))
_FACE_CLOSED = ((36, 42), (42, 48), (48, 60), (60, 68))


@dataclass(frozen=True)
class DrawOptions:
    """Options of `draw_poses`.

    Attributes:
        threshold: keypoints with a lower score are not drawn. None: 0.3, and 0.05 for people of a bottom-up network.
        parts: some of `body`, `hands`, `face` and `feet`; a line from the body to a hand or foot belongs to the latter.
        boxes: whether the boxes are drawn, too.
        labels: text at the box: `none`, `index` (the person's row in `Poses`), `score` (of the box) or `id` (in the
            stream; nothing outside streams).
        line_width: pixels of the body's lines; hands, face and feet are thinner in proportion. None for a width that
            grows with the person.

    Raises:
        ValueError: a part or a label is unknown, `parts` is empty, or `line_width` is not above 0.
    """

    threshold: float | None = None
    parts: Sequence[str] = PARTS
    boxes: bool = False
    labels: Labels = "none"
    line_width: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.parts, str) or not self.parts or not set(self.parts) <= set(PARTS):
            raise ValueError(f"parts {self.parts!r}: give one or more of {', '.join(PARTS)}, as a tuple")
        if self.labels not in LABELS:
            raise ValueError(f"labels {self.labels!r}: give one of {', '.join(LABELS)}")
        if self.line_width is not None and not self.line_width > 0:
            raise ValueError(f"line_width {self.line_width!r}: give pixels above 0, or None")


Stroke: TypeAlias = tuple[str, str, tuple[int, ...]]
"""Part, side, and the keypoint rows: two of a line, one of a dot."""


@dataclass(frozen=True, eq=False)
class _Run:
    """Keypoint rows of the lines (M, 2), or dots (M, 1), that share a colour and a width."""

    rows: npt.NDArray[np.int_]
    part: str
    side: str


def draw_poses(
    image_bgr: Pixels,
    poses: Poses,
    threshold: float | None = None,
    options: DrawOptions = DrawOptions(),
    labels: Sequence[str] | None = None,
) -> Pixels:
    """Return a copy of the picture with all people drawn, small ones below large ones.

    Args:
        image_bgr: (H, W, 3) uint8, the upright picture.
        poses: its people.
        threshold: keypoints with a lower score are not drawn; None for the threshold of `options`.
        options: parts, boxes, labels and line width.
        labels: one ASCII text for each person, such as a track's number; replaces `options.labels`.

    Raises:
        ModuleNotFoundError: OpenCV is not installed (extra `draw`).
        ValueError: `labels` and `poses` differ in length.
    """
    canvas = np.ascontiguousarray(image_bgr).copy()
    draw_onto(canvas, poses, options if threshold is None else replace(options, threshold=threshold), labels)
    return canvas


def draw_onto(canvas: Pixels, poses: Poses, options: DrawOptions, labels: Sequence[str] | None = None) -> None:
    """Draw as `draw_poses` does, on `canvas` itself: (H, W, 3) uint8 BGR."""
    cv2 = opencv("drawing")
    texts = _texts(poses, options.labels) if labels is None else labels
    if len(texts) != len(poses):
        raise ValueError(f"labels: {len(texts)} texts for {len(poses)} people; give one for each")
    strokes = _runs(poses.keypoints.shape[1], poses.set_name)
    runs = tuple(run for run in strokes if _PART_OF[run.part] in options.parts)
    usual = BOTTOM_UP_THRESHOLD if poses.bottom_up else DEFAULT_THRESHOLD
    threshold = usual if options.threshold is None else options.threshold
    sizes = np.sqrt(np.prod(np.maximum(poses.bboxes[:, 2:] - poses.bboxes[:, :2], 1), axis=1))
    order = np.argsort(sizes)
    for person in order:
        width = options.line_width or float(sizes[person]) / _SIZE_PER_WIDTH
        points, scores = poses.keypoints[person], poses.keypoint_scores[person]
        shown = (scores >= threshold) & np.isfinite(points).all(axis=1)
        if options.boxes:
            _draw_box(cv2, canvas, poses.bboxes[person], width)
        color = None if poses.track_ids is None else color_of(int(poses.track_ids[person]))
        _draw_person(cv2, canvas, points, shown, runs, width, color)
    for person in order:  # on top of everything
        if texts[person]:
            _draw_label(cv2, canvas, poses.bboxes[person], texts[person], float(sizes[person]))


def _texts(poses: Poses, labels: Labels) -> list[str]:
    if labels == "score":
        return [f"{score:.2f}" for score in poses.bbox_scores]
    if labels == "id" and poses.track_ids is not None:
        return [str(track) for track in poses.track_ids]
    return [str(row) if labels == "index" else "" for row in range(len(poses))]


def _draw_box(cv2: Any, canvas: Pixels, bbox_xyxy: FloatArray, width: float) -> None:
    left, top, right, bottom = _whole(bbox_xyxy)
    thickness = max(1, round(width * _BOX_WIDTH))
    cv2.rectangle(canvas, (left, top), (right, bottom), _OUTLINE, thickness + 2)
    cv2.rectangle(canvas, (left, top), (right, bottom), _BOX, thickness)


def _draw_label(cv2: Any, canvas: Pixels, bbox_xyxy: FloatArray, text: str, size: float) -> None:
    """Write above the upper left corner of the box; without room above, inside the box, and always on the picture."""
    height = float(np.clip(size * _TEXT_PER_SIZE, *_TEXT_HEIGHTS))
    font, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(height / 10))
    scale = cv2.getFontScaleFromHeight(font, round(height), thickness)
    (text_width, text_height), below = cv2.getTextSize(text, font, scale, thickness)
    left, top, _, _ = _whole(bbox_xyxy)
    box_width, box_height = text_width + 2 * thickness, text_height + below + 2 * thickness
    left = max(0, min(left, canvas.shape[1] - box_width))
    top = max(0, min(top - box_height if top >= box_height else top, canvas.shape[0] - box_height))
    cv2.rectangle(canvas, (left, top), (left + box_width - 1, top + box_height - 1), _OUTLINE, cv2.FILLED)
    origin = (left + thickness, top + thickness + text_height)
    cv2.putText(canvas, text, origin, font, scale, _BOX, thickness, cv2.LINE_AA)


def _whole(bbox_xyxy: FloatArray) -> list[int]:
    return [int(value) for value in np.rint(np.nan_to_num(bbox_xyxy).clip(-1e6, 1e6))]


def color_of(track_id: int) -> Color:
    """Return the colour (BGR) of a person of a stream: bright, and far from those of the neighbouring ids."""
    hue = track_id * _GOLDEN_RATIO % 1.0
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.75, 1.0))
    return blue, green, red


def _draw_person(
    cv2: Any,
    canvas: Pixels,
    points: FloatArray,
    shown: npt.NDArray[np.bool_],
    runs: tuple[_Run, ...],
    width: float,
    color: Color | None,
) -> None:
    fixed = np.rint(np.nan_to_num(points).clip(-1e6, 1e6) * 2.0**_SUBPIXEL_BITS).astype(np.int32)
    visible = [(run, fixed[run.rows[shown[run.rows].all(axis=1)]]) for run in runs]
    for run, ends in visible:  # a dark rim keeps lines legible on any background, but would hide thin ones
        if width * _WIDTHS[run.part] >= _RIM_FROM:
            _draw(cv2, canvas, ends, _OUTLINE, width * _WIDTHS[run.part] + 2)
    for run, ends in visible:
        _draw(cv2, canvas, ends, color or COLORS[run.part][run.side], width * _WIDTHS[run.part])


def _draw(cv2: Any, canvas: Pixels, ends: npt.NDArray[np.int32], color: Color, width: float) -> None:
    """Draw lines (M, 2, 2), all in one call, or dots (M, 1, 2)."""
    if ends.shape[1] == 2:
        cv2.polylines(canvas, list(ends), False, color, max(1, round(width)), cv2.LINE_AA, _SUBPIXEL_BITS)
        return
    radius = round(max(0.8, width * 0.8) * 2**_SUBPIXEL_BITS)
    for center in ends[:, 0].tolist():
        cv2.circle(canvas, center, radius, color, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)


@functools.cache
def _runs(count: int, set_name: str) -> tuple[_Run, ...]:
    """Return the strokes of a keypoint set, grouped by colour and width: this saves most calls of OpenCV."""
    looks: dict[tuple[str, str, int], list[tuple[int, ...]]] = {}
    for part, side, rows in strokes(find_keypoint_set(count, set_name), count):
        looks.setdefault((part, side, len(rows)), []).append(rows)
    return tuple(_Run(np.array(group), part, side) for (part, side, _), group in looks.items())


def strokes(known: KeypointSet | None, count: int = 0) -> Iterator[Stroke]:
    """Yield the lines and dots of one person, in the order of drawing: later strokes cover earlier ones.

    Args:
        known: the keypoint set; None for dots alone.
        count: K, for an unknown set.

    Yields:
        part (`body`, `head`, `foot`, `hand` or `face`), side, and the keypoint rows: two of a line, one of a dot.
    """
    if known is None:
        yield from (("body", "center", (row,)) for row in range(count))
        return
    part = _part_of(known)
    if "face" in known.parts:
        first = known.parts["face"][0]
        yield from (("face", "center", (first + a, first + b)) for a, b in _face_edges())
    for a, b in known.edges:
        names = {part(a), part(b)} - {"body"}  # a line from the body to a foot or an ear belongs to the foot or the ear
        yield max(names, default="body"), shared_side(known.sides[a], known.sides[b]), (a, b)
    yield from ((part(row), known.sides[row], (row,)) for row in range(len(known)) if part(row) != "face")


def _part_of(known: KeypointSet) -> Callable[[int], str]:
    names = {row: name.split("_")[-1] for name, rows in known.parts.items() for row in range(*rows)}
    names |= {row: "head" for row, name in enumerate(known.names) if name in _HEAD}
    return lambda row: names.get(row, "body")


def shared_side(a: str, b: str) -> str:
    """Return the side of a line between keypoints of the sides `a` and `b`."""
    sides = {a, b} - {"center"}
    return sides.pop() if len(sides) == 1 else "center"


def _face_edges() -> Iterator[tuple[int, int]]:
    for first, end in _FACE_OPEN + _FACE_CLOSED:
        yield from zip(range(first, end - 1), range(first + 1, end), strict=True)
    yield from ((end - 1, first) for first, end in _FACE_CLOSED)
