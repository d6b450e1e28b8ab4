"""Speed of streams with networks of the published sizes, beside rtmlib's PoseTracker, in interleaved rounds.

The pose network has the cost of the published one, and answers the same pose for everybody, because a stream that finds
nobody asks the detector in every frame. The detector is the published one.
"""

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import numpy as np
from cigpose_client import PoseClient
from cigpose_client.streams import PoseStream

from benchmarks import pose_tracker
from benchmarks.constructed import NAME, answering, constructed_network
from ensemble.steps import Arrays
from ensemble.tensors import KEYPOINTS, SIMCC_X, SIMCC_Y
from export.repository import plan
from synthetic.accuracy import Way as Serving
from synthetic.accuracy import default_weights, served
from synthetic.films import SIZE, Film, FilmFrame, sample_film
from synthetic.seeds import FILMS

RATE = 25.0
PEOPLE = 3
PROFILE = "cpu-bf16"
_FILMS = 4
_EVERY = (1, 10)

Clip: TypeAlias = list[FilmFrame]
Row: TypeAlias = dict[str, float]
Way: TypeAlias = Callable[[], Row]


def measure(built: Path, detector: Path, seconds: float, rounds: int) -> dict[str, Any]:
    """Return the speed of each way of streaming.

    Args:
        built: folder of constructed networks.
        detector: YOLOX, as published.
        seconds: length of a film.
        rounds: number of measurements of each way, after one that does not count.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pose = answering(_someone(), constructed_network(built), folder / f"{NAME}.onnx")
        with served([pose], detector, Serving(PROFILE), folder) as client:
            found = (film for film in films_of_three(seconds) if _found(client, film))
            films = [list(film.frames()) for film in itertools.islice(found, _FILMS)]
            ways = {**_streams(client, films), **_pose_trackers(pose, detector, films[0])}
            rows = _in_rounds(ways, rounds)
    speed = {way: float(row["frames_per_s"]) for way, row in rows.items()}
    alone, together = (
        {_label(every): speed[f"stream, {_label(every)}, {count} at once"] for every in _EVERY} for count in (1, _FILMS)
    )
    return {
        "pose": f"{NAME} (constructed weights), which answers the same pose for everybody",
        "detector": detector.name,
        "profile": PROFILE,
        "films": f"{_FILMS} of {seconds:g} s with {PEOPLE} people, {RATE:g} frames/s",
        "rounds": rounds,
        "ways": rows,
        "gain_of_every_10th": alone["every 10th"] / alone["every frame"],
        "films_at_once": {label: together[label] / alone[label] for label in alone},
    }


def _someone() -> Arrays:
    """Return what the committed pose network answers to a rendered person: output name -> (1, K, bins)."""
    pose, detector = default_weights()
    frame = next(next(films_of_three(1.0)).frames())
    tensors = plan([pose], detector).in_process("pose").tensors([KEYPOINTS.name], {}, {"image": frame.jpeg})
    return {name: tensors[name][:1] for name in (SIMCC_X.name, SIMCC_Y.name)}


def films_of_three(seconds: float) -> Iterator[Film]:
    """Yield films of a moving camera that show the same three people in all of their frames."""
    return filter(_shows_three, (sample_film(seed, "camera", RATE, seconds) for seed in FILMS[40:]))


def _shows_three(film: Film) -> bool:
    if len(film.actors) != PEOPLE:
        return False
    outlines = [points[:17] for time_s in film.times[::5] for _, points in film.outlines(time_s)]
    return bool(((np.array(outlines) > 0) & (np.array(outlines) < SIZE)).all())


def _found(client: PoseClient, film: Film) -> bool:
    """Return whether the detector finds all people in some of the frames: it was trained with photos."""
    some = replace(film, times=film.times[::10])
    return all(len(client.estimate(frame.jpeg)) == PEOPLE for frame in some.frames())


def _label(every: int) -> str:
    return "every frame" if every == 1 else f"every {every}th"


def _streams(client: PoseClient, films: Sequence[Clip]) -> dict[str, Way]:
    """Return the ways with streams: one film, and all of them at once."""
    return {
        f"stream, {_label(every)}, {count} at once": partial(_streamed, client, films[:count], every)
        for every in _EVERY
        for count in (1, len(films))
    }


def _streamed(client: PoseClient, films: Sequence[Clip], every: int) -> Row:
    streams = [client.stream(detect_every=every) for _ in films]
    started_s = time.perf_counter()
    with ThreadPoolExecutor(len(films)) as pool:
        counts = np.array([*pool.map(_followed, streams, films)]).sum(axis=0)
    spent_s, frames = time.perf_counter() - started_s, sum(map(len, films))
    return {"frames_per_s": frames / spent_s, "people": counts[0] / frames, "detections": counts[1] / frames}


def _followed(stream: PoseStream, film: Clip) -> tuple[int, int]:
    """Return the numbers of people and of detections in a film."""
    people = detections = 0
    for frame in film:
        people += len(stream.update(frame.jpeg, frame.time_s))
        detections += stream.detected
    return people, detections


def _pose_trackers(pose: Path, detector: Path, film: Clip) -> dict[str, Way]:
    """Return the ways with rtmlib."""
    return {
        f"rtmlib, {_label(every)}, {backend}": partial(_pose_tracked, pose, detector, film, backend, every)
        for every in _EVERY
        for backend in pose_tracker.BACKENDS
    }


def _pose_tracked(pose: Path, detector: Path, film: Clip, backend: str, every: int) -> Row:
    _, (answer,) = pose_tracker.track(pose, detector, [[frame.jpeg for frame in film]], backend, every)
    people = sum(map(len, answer.poses)) / len(film)
    return {"frames_per_s": len(film) / answer.seconds, "people": people}


def _in_rounds(ways: Mapping[str, Way], rounds: int) -> dict[str, dict[str, Any]]:
    """Return the medians of each way, measured once a round in a changing order, after a round of warm-up."""
    measured: dict[str, list[Row]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            row = ways[name]()
            measured[name] += [row] if number else []
    return {
        name: {key: round(median(row[key] for row in rows), 3) for key in rows[0]}
        | {"of_rounds": [round(row["frames_per_s"], 2) for row in rows]}
        for name, rows in measured.items()
    }
