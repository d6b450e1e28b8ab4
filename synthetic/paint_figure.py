"""Draws a whole person, far parts first, and finds the keypoints that the person's own body hides."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from synthetic.body import FACE, HANDS, Body
from synthetic.camera import View
from synthetic.layer import Color, Layer, shaded
from synthetic.looks import Looks
from synthetic.paint_head import HEAD, face_visible, paint_head, paint_long_hair

Array = NDArray[np.float64]

TRUNK, ARMS, LEGS, PALMS = 1, (3, 4), (5, 6), (7, 8)  # numbers of the parts in the layer's map; head and neck are HEAD
_FINGERS = tuple(range(1 + 4 * finger, 5 + 4 * finger) for finger in range(5))
_KNUCKLES = (0, 1, 5, 9, 13, 17)


class FigurePainter:
    """The shared state of drawing one person: layer, projected keypoints and looks."""

    def __init__(self, layer: Layer, body: Body, view: View, looks: Looks) -> None:
        self.layer, self.body, self.view, self.looks = layer, body, view, looks
        self.pixels, self.close = view.project(body.points)
        self.unit = view.scale
        self.girth = body.build.girth

    def limb(self, ends: Array, radii: tuple[float, float], color: Color, part: int) -> None:
        """Draw a rounded bar between pixels (2, 2) with a shadow side; radii in statures."""
        first, second = (radius * self.unit for radius in radii)
        light = np.array((-0.25, -0.15)) * min(first, second)
        self.layer.capsule(ends, (first, second), shaded(color, 0.74), part)
        self.layer.capsule(ends + light, (0.8 * first, 0.8 * second), color)
        self.layer.capsule(ends + 2 * light, (0.35 * first, 0.35 * second), shaded(color, 1.12))


def paint_figure(layer: Layer, body: Body, view: View, looks: Looks) -> None:
    """Draw the person on an empty layer."""
    painter = FigurePainter(layer, body, view, looks)
    for _, step in sorted(_steps(painter), key=lambda pair: pair[0]):
        step()


def own_visibility(layer: Layer, body: Body, view: View) -> NDArray[np.bool_]:
    """Return (133,) whether each keypoint is visible: hidden by no other part of the same painted body."""
    pixels = np.rint((view.project(body.points)[0] - layer.offset) * layer.scale).astype(int)
    height, width = layer.parts.shape
    x, y = np.clip(pixels[:, 0], 0, width - 1), np.clip(pixels[:, 1], 0, height - 1)
    shown = layer.parts[y, x]
    visible = _ALLOWED[np.arange(133), shown]
    face = face_visible(body, view)
    visible[FACE] &= face
    visible[0] &= face[30]
    visible[1] &= face[42:48].mean() > 0.5
    visible[2] &= face[36:42].mean() > 0.5
    sideways = view.facing(body.head_frame[:, 0][None])[0]
    visible[3] &= sideways > -0.15
    visible[4] &= sideways < 0.15
    return np.asarray(visible)


def _allowed_parts() -> NDArray[np.bool_]:
    """Return (133, parts): whether a keypoint counts as visible when its pixel shows the part."""
    allowed = np.zeros((133, 9), bool)
    allowed[:, 0] = True
    allowed[0:5, HEAD] = allowed[FACE, HEAD] = True
    for side in range(2):
        arm, leg, first = ARMS[side], LEGS[side], 17 + 3 * side
        allowed[[5 + side, 7 + side, 9 + side], arm] = True
        allowed[9 + side, PALMS[side]] = True
        allowed[HANDS[side], PALMS[side]] = True
        allowed[[91, 112][side], arm] = True
        allowed[[5 + side, 11 + side], TRUNK] = True
        allowed[[11 + side, 13 + side, 15 + side, first, first + 1, first + 2], leg] = True
        allowed[11 + side, list(LEGS)] = True
        allowed[13 + side, TRUNK] = True  # a skirt
    return allowed


_ALLOWED = _allowed_parts()


def _steps(painter: FigurePainter) -> list[tuple[float, Callable[[], None]]]:
    """Return the drawing steps with their closeness to the camera, biased towards the natural overlap."""
    body, view, looks, close = painter.body, painter.view, painter.looks, painter.close
    trunk = float(close[[5, 6, 11, 12]].mean())
    head = float(view.project(body.head_center[None])[1][0])
    steps: list[tuple[float, Callable[[], None]]] = [
        (trunk, lambda: _trunk(painter)),
        (max(head, trunk) + 0.005, lambda: _neck_and_head(painter)),
    ]
    if looks.haircut == "long":
        back = float(view.facing(-body.head_frame[:, 2][None])[0])
        steps.append(
            (
                head + 0.08 * back + (0.02 if back > 0.3 else -0.02),
                lambda: paint_long_hair(painter.layer, body, view, looks),
            )
        )
    for side in range(2):
        arm = float(close[[7 + side, 9 + side]].mean()) + 0.02
        leg = float(close[[13 + side, 15 + side]].mean()) - 0.06
        steps.append((arm, lambda side=side: _arm(painter, side)))  # type: ignore[misc]
        steps.append((leg, lambda side=side: _leg(painter, side)))  # type: ignore[misc]
    if looks.legs in ("skirt", "dress"):
        knees = float(close[[13, 14]].max())
        steps.append((max(trunk - 0.001, knees - 0.02), lambda: _skirt(painter)))
    return steps


def _neck_and_head(painter: FigurePainter) -> None:
    neck = painter.view.project(painter.body.neck)[0]
    painter.limb(neck, (0.034 * painter.girth**0.5, 0.03), shaded(painter.looks.skin, 0.88), HEAD)
    paint_head(painter.layer, painter.body, painter.view, painter.looks)


def _trunk(painter: FigurePainter) -> None:
    looks, unit = painter.looks, painter.unit
    outline = _trunk_outline(painter)
    painter.layer.hull(outline, shaded(looks.top, 0.78), TRUNK)
    middle = outline.mean(axis=0)
    painter.layer.hull(middle + 0.88 * (outline - middle) - 0.008 * unit, looks.top)
    left, right, hip_left, hip_right = painter.pixels[[5, 6, 11, 12]]
    _pattern(painter, np.stack((left, right, hip_right, hip_left)))
    if looks.legs != "dress":
        belt = np.stack((hip_left, hip_right)) + 0.012 * unit * _down(painter)
        painter.limb(belt, (0.055 * painter.girth, 0.055 * painter.girth), looks.bottom, TRUNK)
    if looks.pattern == "belt":
        waist = np.stack((hip_left, hip_right)) + 0.35 * ((left + right) - (hip_left + hip_right)) / 2 * 0.35
        painter.layer.line(waist + 0.3 * (waist - waist[::-1]), 0.022 * unit, looks.accent)


def _down(painter: FigurePainter) -> Array:
    """Return the unit vector in the picture from the shoulders to the hips."""
    spine = painter.pixels[[11, 12]].mean(axis=0) - painter.pixels[[5, 6]].mean(axis=0)
    return np.asarray(spine / max(1e-6, float(np.linalg.norm(spine))))


def _trunk_outline(painter: FigurePainter) -> Array:
    """Return pixels around the chest, the waist and the hips."""
    body, girth = painter.body, painter.girth
    rings = []
    for center, frame, (wide, deep) in (
        (body.points[[5, 6]].mean(axis=0), body.chest_frame, (body.build.shoulders + 0.012, 0.045 * girth)),
        (
            body.points[[5, 6]].mean(axis=0) - 0.07 * body.chest_frame[:, 1],
            body.chest_frame,
            (0.1 * girth, 0.068 * girth),
        ),
        (
            body.points[[11, 12]].mean(axis=0) + 0.03 * body.chest_frame[:, 1],
            body.chest_frame,
            (0.088 * girth, 0.062 * girth),
        ),
    ):
        angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        rings.append(center + np.outer(wide * np.sin(angle), frame[:, 0]) + np.outer(deep * np.cos(angle), frame[:, 2]))
    collar = body.neck[0] + 0.012 * body.chest_frame[:, 1]
    return painter.view.project(np.concatenate((*rings, collar[None])))[0]


def _pattern(painter: FigurePainter, corners: Array) -> None:
    """Draw the top's pattern between the corners left shoulder, right shoulder, right hip, left hip (4, 2)."""
    looks, unit, layer = painter.looks, painter.unit, painter.layer
    left, right = np.linspace(corners[0], corners[3], 7)[1:-1], np.linspace(corners[1], corners[2], 7)[1:-1]
    if looks.pattern == "stripes":
        for ends in zip(left, right, strict=True):
            layer.line(np.stack(ends), 0.016 * unit, looks.accent)
    front = painter.view.facing(painter.body.chest_frame[:, 2][None])[0] > 0.25
    if looks.pattern == "print" and front:
        layer.disc(corners.mean(axis=0) - 0.04 * unit * _down(painter), 0.045 * unit, looks.accent)
    if looks.pattern == "jacket" and front:
        middle = (left + right) / 2
        layer.polygon(
            np.concatenate((middle + 0.18 * (left - middle), (middle + 0.18 * (right - middle))[::-1])), looks.accent
        )


def _skirt(painter: FigurePainter) -> None:
    pixels, unit = painter.pixels, painter.unit
    color = painter.looks.top if painter.looks.legs == "dress" else painter.looks.bottom
    hips, knees = pixels[[11, 12]], pixels[[13, 14]]
    waist = hips - 0.04 * unit * _down(painter)
    hem = hips + 0.85 * (knees - hips)
    side = np.array((0.075, 0.0)) * unit * painter.girth
    outline = np.concatenate((waist + 0.8 * side, waist - 0.8 * side, hem + side, hem - side))
    painter.layer.hull(outline, shaded(color, 0.78), TRUNK)
    middle = outline.mean(axis=0)
    painter.layer.hull(middle + 0.84 * (outline - middle) - 0.006 * unit, color)


def _arm(painter: FigurePainter, side: int) -> None:
    close = painter.close
    elbow = close[7 + side]
    steps = [
        (float(close[5 + side] + elbow), _upper_arm),
        (float(close[9 + side] + elbow), _forearm),
        (float(close[9 + side] + close[HANDS[side]].mean()), _hand),
    ]
    for _, step in sorted(steps, key=lambda pair: pair[0]):
        step(painter, side)


def _upper_arm(painter: FigurePainter, side: int) -> None:
    looks, girth, part = painter.looks, painter.girth, ARMS[side]
    upper = painter.pixels[[5 + side, 7 + side]]
    painter.limb(upper, (0.038 * girth, 0.029 * girth), looks.skin, part)
    if looks.sleeve > 0.05:
        painter.limb(_part_of(upper, min(1.0, looks.sleeve)), (0.044 * girth, 0.036 * girth), looks.top, part)


def _forearm(painter: FigurePainter, side: int) -> None:
    looks, girth, part = painter.looks, painter.girth, ARMS[side]
    fore = painter.pixels[[7 + side, 9 + side]]
    painter.limb(fore, (0.027 * girth, 0.019 * girth**0.5), looks.skin, part)
    if looks.sleeve > 1:
        painter.limb(_part_of(fore, looks.sleeve - 1), (0.032 * girth, 0.027 * girth), looks.top, part)


def _hand(painter: FigurePainter, side: int) -> None:
    hand, skin, unit, part = painter.pixels[HANDS[side]], painter.looks.skin, painter.unit, PALMS[side]
    close = painter.close[HANDS[side]]
    palm_first = close[[8, 12, 16]].mean() >= close[0]
    if palm_first:
        _palm(painter, hand, part)
    for finger in sorted(_FINGERS, key=lambda joints: float(close[list(joints)].mean())):
        chain = hand[list(finger)]
        painter.layer.line(chain, 0.0195 * unit, shaded(skin, 0.62), part)
        painter.layer.line(chain, 0.0125 * unit, shaded(skin, 1.04), part)
    if not palm_first:
        _palm(painter, hand, part)


def _palm(painter: FigurePainter, hand: Array, part: int) -> None:
    skin, unit = painter.looks.skin, painter.unit
    corners = hand[list(_KNUCKLES)]
    middle = corners.mean(axis=0)
    painter.layer.hull(middle + 1.12 * (corners - middle), shaded(skin, 0.78), part)
    painter.layer.hull(middle + 0.9 * (corners - middle), skin, part)
    painter.layer.disc(hand[0], 0.018 * unit, shaded(skin, 0.85), part)


def _leg(painter: FigurePainter, side: int) -> None:
    looks, girth, part = painter.looks, painter.girth, LEGS[side]
    hip, knee, ankle = painter.pixels[[11 + side, 13 + side, 15 + side]]
    thigh, shin = np.stack((hip, knee)), np.stack((knee, ankle))
    bare = looks.legs in ("skirt", "dress")
    _shoe(painter, side, ankle)
    painter.limb(shin, (0.036 * girth, 0.024 * girth**0.5), looks.skin, part)
    if looks.legs == "trousers":
        painter.limb(_part_of(shin, 0.95), (0.043 * girth, 0.034 * girth), looks.bottom, part)
    painter.limb(thigh, (0.056 * girth, 0.04 * girth), looks.skin if bare else looks.bottom, part)
    if looks.legs == "shorts":
        painter.limb(_part_of(thigh, 0.9), (0.062 * girth, 0.05 * girth), looks.bottom, part)
        painter.limb(_part_of(thigh[::-1], 0.14), (0.041 * girth, 0.041 * girth), looks.skin, part)


def _shoe(painter: FigurePainter, side: int, ankle: Array) -> None:
    first, unit, part = 17 + 3 * side, painter.unit, LEGS[side]
    big, small, heel = painter.pixels[first : first + 3]
    color = painter.looks.shoes
    ring = 0.016 * unit * np.stack((np.cos(np.linspace(0, 5.5, 8)), np.sin(np.linspace(0, 5.5, 8))), axis=1)
    corners = np.concatenate((ankle + 1.4 * ring, heel + ring, big + ring, small + ring))
    painter.layer.hull(corners, shaded(color, 0.7), part)
    middle = corners.mean(axis=0)
    painter.layer.hull(middle + 0.82 * (corners - middle) - 0.004 * unit, color, part)
    painter.layer.line(np.stack((heel, (big + small) / 2)), 0.008 * unit, shaded(color, 1.5))


def _part_of(ends: Array, share: float) -> Array:
    """Return the first `share` of a segment (2, 2)."""
    return np.stack((ends[0], ends[0] + share * (ends[1] - ends[0])))
