"""Rendered films of people who walk, cross, hide, leave and return, with exact ids and keypoints in every frame.

A film is a plan: places, postures and the camera are functions of the time, so a frame can be rendered at any time and
a dropped frame changes no other.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.background import blend_over, paint_background
from synthetic.body import Body, Build, pose_body, sample_build
from synthetic.camera import View, view_rotation
from synthetic.effects import encode_jpeg, photograph
from synthetic.looks import Looks, sample_looks
from synthetic.posture import Posture, sample_posture, within_limits
from synthetic.scene import Item, Person, paint_person, truth_of

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

SIZE = (640, 480)
_WORLD = (1600, 720)  # pixels of the ground that the camera may show
_MIDDLE = (800.0, 380.0)
_HORIZON = 260.0
_SHOWN = 0.1  # share of a person's pixels from which on the truth holds the person


@dataclass(frozen=True)
class Actor:
    """One person of a film.

    Attributes:
        track_id: from 1 on.
        build, looks: as in scenes.
        posture: at rest; walking and gestures are added.
        place: time -> x of the pelvis in world pixels.
        scale: pixels per stature; larger ones are nearer and hide smaller ones.
        gesture_hz: rate at which the left arm waves; 0 for arms at rest.
        seed: of the grain of the clothes.
    """

    track_id: int
    build: Build
    looks: Looks
    posture: Posture
    place: Callable[[float], float]
    scale: float
    gesture_hz: float
    seed: int

    def speed(self, time_s: float) -> float:
        """Return the speed in pixels per second, positive to the right."""
        return (self.place(time_s + 0.02) - self.place(time_s - 0.02)) / 0.04


@dataclass(frozen=True)
class Camera:
    """A camera that pans and zooms.

    Attributes:
        center: time -> (x, y) of the middle of the picture, in world pixels.
        zoom: time -> picture pixels per world pixel.
    """

    center: Callable[[float], tuple[float, float]]
    zoom: Callable[[float], float]


@dataclass(frozen=True)
class Tracked:
    """The truth about one person of a frame.

    Attributes:
        track_id: of the actor.
        person: points, visibility and box, as in scenes.
        share: visible share of the person's pixels in the picture, `_SHOWN` to 1.
    """

    track_id: int
    person: Person
    share: float


@dataclass(frozen=True)
class FilmFrame:
    """One frame.

    Attributes:
        time_s: its time.
        jpeg: the encoded picture.
        people: those who can be seen, far to near.
    """

    time_s: float
    jpeg: bytes
    people: tuple[Tracked, ...]


@dataclass(frozen=True)
class Film:
    """A film.

    Attributes:
        seed: of everything in it.
        actors: the people.
        camera: the view.
        times: of the frames, in seconds; a dropped frame is missing.
    """

    seed: int
    actors: tuple[Actor, ...]
    camera: Camera
    times: tuple[float, ...]

    def frames(self) -> Iterator[FilmFrame]:
        """Yield the rendered frames."""
        rng = np.random.default_rng(self.seed)
        ground = paint_background(rng, _WORLD, _HORIZON)
        for index, time_s in enumerate(self.times):
            yield self._frame(ground, index, time_s)

    def outlines(self, time_s: float) -> list[tuple[int, Array]]:
        """Return the ids and points (133, 2) of all people at a time, far to near, without rendering."""
        zoom, shift = self._view(time_s)
        posed = [(actor.track_id, *_posed(actor, time_s, zoom, shift)) for actor in self._by_distance]
        return [(track_id, view.project(body.points)[0]) for track_id, body, view in posed]

    @property
    def _by_distance(self) -> list[Actor]:
        return sorted(self.actors, key=lambda actor: actor.scale)

    def _view(self, time_s: float) -> tuple[float, Array]:
        """Return the zoom, and the shift (2,) from world pixels times the zoom to pixels of the picture."""
        zoom = self.camera.zoom(time_s)
        return zoom, np.array(SIZE) / 2 - zoom * np.array(self.camera.center(time_s))

    def _frame(self, ground: Image, index: int, time_s: float) -> FilmFrame:
        zoom, shift = self._view(time_s)
        matrix = np.array(((zoom, 0, shift[0]), (0, zoom, shift[1])))
        image = np.asarray(cv2.warpAffine(ground, matrix, SIZE, borderMode=cv2.BORDER_REPLICATE), np.uint8)
        items = [(actor, _painted(actor, time_s, zoom, shift)) for actor in self._by_distance]
        people = _resolved(items)
        for _, item in items:
            if item is not None:
                image[item.window] = blend_over(image[item.window], item.bgra)
        camera, noise = np.random.default_rng(self.seed + 1), np.random.default_rng((self.seed, index))
        picture = photograph(camera, image, noise)
        return FilmFrame(time_s, encode_jpeg(np.random.default_rng(self.seed + 2), picture), people)


def _painted(actor: Actor, time_s: float, zoom: float, shift: Array) -> Item | None:
    body, view = _posed(actor, time_s, zoom, shift)
    return paint_person(np.random.default_rng(actor.seed), body, view, SIZE, actor.looks)


def _posed(actor: Actor, time_s: float, zoom: float, shift: Array) -> tuple[Body, View]:
    speed = actor.speed(time_s)
    yaw = np.arctan(speed / actor.scale * 4)  # turned towards where the person goes
    foot = _HORIZON + 0.95 * actor.scale
    origin = zoom * np.array((actor.place(time_s), foot - 0.5 * actor.scale)) + shift
    body = pose_body(actor.build, _posture(actor, time_s))
    return body, View(view_rotation(float(yaw), 0.05), actor.scale * zoom, origin, 8.0)


def _posture(actor: Actor, time_s: float) -> Posture:
    """Return the posture: legs and arms swing with the way covered, so that people at rest do not move."""
    speed = abs(actor.speed(time_s)) / actor.scale  # statures per second
    swing = min(speed / 0.8, 1.0) * 28
    phase = 2 * np.pi * actor.place(time_s) / (0.8 * actor.scale)
    arms, legs = actor.posture.arms.copy(), actor.posture.legs.copy()
    for side, sign in enumerate((1, -1)):
        legs[side] += (sign * swing * np.sin(phase), 0, 0, swing * (1 + np.sin(phase + sign * np.pi / 2)) / 2, 0)
        arms[side, 0] -= sign * 0.8 * swing * np.sin(phase)
    if actor.gesture_hz:
        turn = 2 * np.pi * actor.gesture_hz * time_s
        arms[0] += (80 + 30 * np.sin(turn), 40, -20, 70 + 35 * np.sin(turn), 0)
    return within_limits(replace(actor.posture, arms=arms, legs=legs))


def _resolved(items: list[tuple[Actor, Item | None]]) -> tuple[Tracked, ...]:
    """Return the truth about the painted people, far to near."""
    covered, people = np.zeros(SIZE[::-1], bool), []
    for actor, item in reversed(items):
        if item is None:
            continue
        solid = item.bgra[:, :, 3] > 127
        seen = solid & ~covered[item.window]
        share = float(seen.sum() / max(solid.sum(), 1))
        if share >= _SHOWN and seen.sum() >= 160:
            people.append(Tracked(actor.track_id, truth_of(item, seen, covered), share))
        covered[item.window] |= solid
    return tuple(people[::-1])


def sample_film(seed: int, kind: str, rate: float = 25.0, seconds: float = 6.0, dropped: float = 0.0) -> Film:
    """Draw a film; the same arguments give the same bytes.

    Args:
        seed: of everything in it.
        kind: `crossing`, `hiding`, `leaving`, `camera` (it pans and zooms) or `still`.
        rate: frames per second.
        seconds: length.
        dropped: share of the frames that are missing.
    """
    seed = len(KINDS) * seed + KINDS.index(kind)
    rng = np.random.default_rng(seed)
    places, camera = _KINDS[kind](rng, seconds)
    scales = rng.permutation(np.linspace(190, 250, len(places)))
    actors = tuple(
        _actor(rng, number, place, float(scale), kind == "still")
        for number, (place, scale) in enumerate(zip(places, scales, strict=True), start=1)
    )
    times = [index / rate for index in range(round(seconds * rate))]
    kept = [time_s for index, time_s in enumerate(times) if index == 0 or rng.random() >= dropped]
    return Film(seed, actors, camera, tuple(kept))


def _actor(rng: np.random.Generator, number: int, place: Callable[[float], float], scale: float, still: bool) -> Actor:
    posture = replace(sample_posture(rng), tilt=np.zeros(2))
    posture = replace(posture, legs=np.array(((0.0, 4, -6, 4, 0), (0.0, 4, -6, 4, 0))))
    gesture_hz = 0.0 if still or rng.random() < 0.5 else rng.uniform(0.6, 1.2)
    return Actor(
        number, sample_build(rng), sample_looks(rng), posture, place, scale, gesture_hz, int(rng.integers(2**31))
    )


_Place = Callable[[float], float]
_Plan = tuple[list[_Place], Camera]
_FIXED = Camera(lambda time_s: _MIDDLE, lambda time_s: 1.0)


def _walk(start: float, speed: float) -> _Place:
    return lambda time_s: start + speed * time_s


def _way(times: list[float], places: list[float]) -> _Place:
    """Return a way through places at times, slow at the turns."""

    def place(time_s: float) -> float:
        leg = int(np.clip(np.searchsorted(times, time_s) - 1, 0, len(times) - 2))
        share = np.clip((time_s - times[leg]) / (times[leg + 1] - times[leg]), 0, 1)
        return float(places[leg] + (places[leg + 1] - places[leg]) * (share - np.sin(2 * np.pi * share) / (2 * np.pi)))

    return place


def _crossing(rng: np.random.Generator, seconds: float) -> _Plan:
    places: list[_Place] = []
    for index in range(int(rng.integers(2, 5))):
        speed = rng.uniform(90, 200) * (1 if index % 2 else -1)
        middle = rng.uniform(0.35, 0.65) * seconds  # the time at which the person is in the middle
        places.append(_walk(_MIDDLE[0] + rng.uniform(-60, 60) - speed * middle, speed))
    return places, _FIXED


def _hiding(rng: np.random.Generator, seconds: float) -> _Plan:
    """One stands still, others stop behind or in front, and go on or turn back."""
    x = _MIDDLE[0] + rng.uniform(-80, 80)
    places: list[_Place] = [lambda time_s: x]
    for index in range(int(rng.integers(1, 3))):
        side = 1 if index % 2 else -1
        come, stay = rng.uniform(0.2, 0.35) * seconds, rng.uniform(0.3, 1.0)
        to = side * rng.uniform(180, 280) * (1 if rng.random() < 0.5 else -1)
        times = [0.0, come, come + stay, min(2 * come + stay, seconds)]
        places.append(_way(times, [x - side * rng.uniform(180, 280), x, x, x + to]))
    return places, _FIXED


def _leaving(rng: np.random.Generator, seconds: float) -> _Plan:
    """One or two leave the picture, return after 0.5 to 1.5 s, and one stays."""
    places: list[_Place] = [lambda time_s: _MIDDLE[0] + 40]
    for side in (-1, 1)[: int(rng.integers(1, 3))]:
        out, away = rng.uniform(0.25, 0.35) * seconds, rng.uniform(0.5, 1.5)
        inside, edge = _MIDDLE[0] + side * rng.uniform(120, 200), _MIDDLE[0] + side * (SIZE[0] / 2 + 90)
        places.append(_way([0.0, out, out + away, seconds - 0.3], [inside, edge, edge, inside]))
    return places, _FIXED


def _camera(rng: np.random.Generator, seconds: float) -> _Plan:
    places, _ = _crossing(rng, seconds) if rng.random() < 0.5 else _still(rng, seconds)
    pan, rise, zoom = rng.uniform(60, 160), rng.uniform(5, 25), rng.uniform(0.1, 0.3)
    turn, phase = 2 * np.pi / rng.uniform(3, 6), rng.uniform(0, 2 * np.pi)

    def center(time_s: float) -> tuple[float, float]:
        return _MIDDLE[0] + pan * np.sin(turn * time_s + phase), _MIDDLE[1] + rise * np.cos(turn * time_s)

    return places, Camera(center, lambda time_s: 1 + zoom * float(np.sin(1.3 * turn * time_s)))


def _still(rng: np.random.Generator, seconds: float) -> _Plan:
    count = int(rng.integers(1, 4))
    places: list[_Place] = []
    for index in range(count):
        x = _MIDDLE[0] + (index - (count - 1) / 2) * rng.uniform(150, 190)
        places.append(_walk(x, 0.0))
    return places, _FIXED


_KINDS: dict[str, Callable[[np.random.Generator, float], _Plan]] = {
    "crossing": _crossing,
    "hiding": _hiding,
    "leaving": _leaving,
    "camera": _camera,
    "still": _still,
}
KINDS = tuple(_KINDS)
