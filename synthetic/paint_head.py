"""Draws a head as the camera sees it: skull, hair, face, ears, eyes, brows, nose and mouth."""

import numpy as np
from numpy.typing import NDArray

from synthetic.body import EYES_OF_FACE, FACE, Body
from synthetic.camera import View
from synthetic.face import SKULL, landmark_normals
from synthetic.layer import Color, Layer, blend, shaded
from synthetic.looks import Looks

Array = NDArray[np.float64]

HEAD = 2  # number of the part in the layer's map; everything on the head shares it
_FACING = 0.06  # smallest cosine at which a patch of skin is drawn


def _sphere(rings: int = 11, spokes: int = 20) -> Array:
    height = np.linspace(-1, 1, rings)[:, None]
    angle = np.linspace(0, 2 * np.pi, spokes, endpoint=False)[None]
    radius = np.sqrt(1 - height**2)
    points = np.broadcast_arrays(radius * np.sin(angle), height, radius * np.cos(angle))
    return np.asarray(np.stack(points, axis=-1).reshape(-1, 3))


_SPHERE = _sphere()
_SKULL_POINTS = _SPHERE * SKULL
_HAIR_POINTS = (
    _SPHERE[(_SPHERE[:, 1] > -0.35) & ((_SPHERE[:, 1] > 0.5) | (_SPHERE[:, 2] < 0.12))] * SKULL * (1.1, 1.1, 1.12)
)
_CAP_POINTS = _SPHERE[_SPHERE[:, 1] > 0.42] * SKULL * (1.12, 1.14, 1.12)
_FACE_SKIN = _SPHERE[(_SPHERE[:, 2] > 0.15) & (_SPHERE[:, 1] < 0.72)] * SKULL * (1.0, 1.0, 1.02)
_VISOR = np.array(
    [
        (x, 0.45 + 0.08 * np.cos(1.4 * x), 0.75 + z)
        for x, z in ((-0.62, 0), (-0.45, 0.45), (0, 0.62), (0.45, 0.45), (0.62, 0))
    ]
)
_LONG_HAIR = np.array(
    [(x, y, z) for y, w in ((0.2, 0.84), (-0.8, 0.92), (-1.9, 0.8)) for x in (-w, w) for z in (-0.85, -0.15)]
)
_BUN = np.array((0.0, 0.75, -1.0))


class HeadPainter:
    """The shared state of drawing one head."""

    def __init__(self, layer: Layer, body: Body, view: View, looks: Looks) -> None:
        self.layer, self.body, self.view, self.looks = layer, body, view, looks
        self.unit = body.build.head * view.scale  # pixels of half a head height
        self.face = view.project(body.points[FACE])[0]
        local = (body.points[FACE] - body.head_center) @ body.head_frame / body.build.head
        self.cosines = self.facing(landmark_normals(local))

    def facing(self, normals: Array) -> Array:
        """Return the cosine between directions in the head's frame and the direction to the camera."""
        return self.view.facing(normals @ self.body.head_frame.T)

    def place(self, points: Array) -> Array:
        """Return pixels of points given in the head's frame, half head heights."""
        return self.view.project(self.body.head_center + self.body.build.head * points @ self.body.head_frame.T)[0]


def paint_long_hair(layer: Layer, body: Body, view: View, looks: Looks) -> None:
    """Draw the hair that falls behind the neck."""
    head = HeadPainter(layer, body, view, looks)
    layer.hull(head.place(_LONG_HAIR), shaded(looks.hair, 0.85), HEAD)


def paint_head(layer: Layer, body: Body, view: View, looks: Looks) -> None:
    """Draw the head over the present content of the layer."""
    head = HeadPainter(layer, body, view, looks)
    layer.hull(head.place(_SKULL_POINTS), shaded(looks.skin, 0.8), HEAD)
    _hair(head)
    _skin(head)
    _ears(head)
    _mouth(head)
    for side in range(2):
        _eye(head, side)
    _nose(head)
    if looks.glasses:
        _glasses(head)
    if looks.haircut == "cap":
        _cap(head)


def face_visible(body: Body, view: View) -> NDArray[np.bool_]:
    """Return (68,) whether each landmark faces the camera."""
    local = (body.points[FACE] - body.head_center) @ body.head_frame / body.build.head
    cosines = view.facing(landmark_normals(local) @ body.head_frame.T)
    limit = np.full(68, -0.02)
    limit[27:36] = -0.25  # the nose stands out of the profile
    return np.asarray(cosines > limit)


def _hair(head: HeadPainter) -> None:
    looks = head.looks
    if looks.haircut == "bald":
        return
    if looks.haircut == "bun":
        head.layer.disc(head.place(_BUN[None])[0], 0.38 * head.unit, shaded(looks.hair, 0.9), HEAD)
    pixels = head.place(_HAIR_POINTS)
    head.layer.hull(pixels, looks.hair, HEAD)
    middle = pixels.mean(axis=0)
    head.layer.hull(middle + 0.55 * (pixels - middle) + (-0.1 * head.unit, -0.25 * head.unit), shaded(looks.hair, 1.2))


def _skin(head: HeadPainter) -> None:
    seen = head.facing(_FACE_SKIN / np.linalg.norm(_FACE_SKIN, axis=1, keepdims=True)) > _FACING
    jaw = np.arange(17)[head.cosines[:17] > -0.05]
    outline = np.concatenate((head.place(_FACE_SKIN[seen]), head.face[jaw]))
    skin = head.looks.skin
    head.layer.hull(outline, shaded(skin, 0.86), HEAD)
    middle = outline.mean(axis=0)
    head.layer.hull(middle + 0.9 * (outline - middle) - (0.03 * head.unit, 0.03 * head.unit), skin)
    if head.looks.beard and len(jaw) > 3:
        inner = head.face[jaw] + 0.42 * (head.face[33] - head.face[jaw])
        head.layer.polygon(np.concatenate((head.face[jaw], inner[::-1])), blend(skin, head.looks.hair, 0.75))


def _ears(head: HeadPainter) -> None:
    for side, sign in enumerate((1.0, -1.0)):
        if head.facing(np.array(((sign, 0.0, -0.05),)))[0] < -0.12:
            continue
        center = head.view.project(head.body.points[3 + side][None])[0][0]
        down = 0.17 * head.unit * -head.view.rotation[:2, :] @ head.body.head_frame[:, 1] * (1, -1)
        ends = np.stack((center - 0.8 * down, center + 0.8 * down))
        head.layer.capsule(ends, (0.15 * head.unit, 0.11 * head.unit), shaded(head.looks.skin, 0.82), HEAD)
        head.layer.capsule(ends, (0.07 * head.unit, 0.04 * head.unit), shaded(head.looks.skin, 0.62))


def _eye(head: HeadPainter, side: int) -> None:
    region = EYES_OF_FACE[side]
    if head.cosines[region].mean() < 0.12:
        return
    ring, unit = head.face[region], head.unit
    head.layer.polygon(ring + 0.12 * (ring - ring.mean(axis=0)), shaded(head.looks.skin, 0.7))
    head.layer.polygon(ring, (235, 238, 240))
    opening = max(0.05, 0.5 * float(np.linalg.norm(ring[1] + ring[2] - ring[4] - ring[5]) / 2) / unit)
    head.layer.disc(ring.mean(axis=0), min(0.085, 1.05 * opening) * unit, (45, 40, 35))
    head.layer.line(ring[:4], 0.035 * unit, (30, 28, 30))
    brow = head.face[22:27] if side == 0 else head.face[17:22]
    dark = blend(head.looks.hair, (30, 30, 35), 0.5)
    head.layer.line(brow, 0.075 * unit, dark)


def _nose(head: HeadPainter) -> None:
    if head.cosines[30] < -0.2:
        return
    skin, face, unit = head.looks.skin, head.face, head.unit
    body = head.face[[27, 31, 32, 33, 34, 35]]
    head.layer.hull(np.concatenate((body, face[28:31])), shaded(skin, 0.9), HEAD)
    head.layer.line(face[27:31], 0.07 * unit, shaded(skin, 1.1))
    head.layer.line(face[31:36], 0.045 * unit, shaded(skin, 0.55))
    head.layer.disc(face[30], 0.06 * unit, shaded(skin, 1.18))


def _mouth(head: HeadPainter) -> None:
    if head.cosines[48:68].mean() < 0.05:
        return
    lips: Color = blend(shaded(head.looks.skin, 0.8), (70, 60, 170), 0.45)
    outer, inner = head.face[48:60], head.face[60:68]
    head.layer.polygon(outer, lips)
    head.layer.polygon(inner, (45, 35, 75))
    gap = float(np.linalg.norm(inner[2] - inner[6]))
    if gap > 0.1 * head.unit:
        head.layer.polygon(inner[[0, 1, 2, 3, 4]] + (0, 0.04 * head.unit), (225, 230, 232))
    head.layer.line(inner[[0, 6, 4]], 0.02 * head.unit, (40, 30, 60))


def _glasses(head: HeadPainter) -> None:
    for region in EYES_OF_FACE:
        if head.cosines[region].mean() < 0.12:
            continue
        ring = head.face[region]
        frame = ring.mean(axis=0) + 1.45 * (ring - ring.mean(axis=0)) * (1, 1.3)
        head.layer.line(np.concatenate((frame, frame[:1])), 0.045 * head.unit, (35, 30, 30))
    if head.cosines[27] > 0.1:
        head.layer.line(head.face[[39, 27, 42]], 0.04 * head.unit, (35, 30, 30))


def _cap(head: HeadPainter) -> None:
    color = head.looks.accent
    head.layer.hull(head.place(_CAP_POINTS), color, HEAD)
    if head.facing(np.array(((0.0, 0.1, 1.0),)))[0] > -0.3:
        head.layer.hull(head.place(_VISOR), shaded(color, 0.75), HEAD)
