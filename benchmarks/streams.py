"""`python -m benchmarks streams`: rendered films through the server.

Measures accuracy, shaking, lag and ids of each film, by way of streaming, with the committed small networks; the same
beside rtmlib's PoseTracker on the same files; and the speed of both with networks of the published sizes.
"""

import itertools
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from cigpose_client import PoseClient, Poses

from benchmarks import pose_tracker, stream_speed
from benchmarks.pose_tracker import around_keypoints
from benchmarks.results import add_output, write
from benchmarks.subject import BUILT, NANO
from server.usage import CommandLine, command, input_path
from synthetic.accuracy import WAYS, default_weights, served
from synthetic.film_accuracy import check_environment, compared, with_truth
from synthetic.film_detections import Detected
from synthetic.film_measures import quality
from synthetic.films import KINDS, FilmFrame, sample_film
from synthetic.seeds import FILMS

Answers: TypeAlias = list[Poses]

_SPEED_S = 2.0  # longest film for the measurement of speed

SETTINGS: dict[str, dict[str, Any]] = {
    "every frame": {"smooth": False},
    "every 10th": {"smooth": False, "detect_every": 10},
    "smoothed": {"smooth": True},
}


def measure(client: PoseClient, frames: Sequence[FilmFrame], rate: float) -> tuple[dict[str, Any], dict[str, Answers]]:
    """Return the measures and the answers of one film by way of streaming.

    The `ids` are beside those of ByteTrack on the same boxes.
    """
    answers = {way: _streamed(client, frames, settings) for way, settings in SETTINGS.items()}
    sets = {way: [(rate, _with_truth(frames, poses))] for way, poses in answers.items()}
    ids = compared(sets)["sets"]
    return {way: {**_measures([(frames, poses, rate)]), "ids": ids[way]} for way, poses in answers.items()}, answers


def beside_rtmlib(
    films: Sequence[tuple[Sequence[FilmFrame], float]],
    streams: Mapping[str, Sequence[Answers]],
    networks: tuple[Path, Path],
) -> dict[str, Any]:
    """Return the measures of streams and of rtmlib's PoseTracker over all films, on boxes around the keypoints.

    Args:
        films: frames, and frames per second.
        streams: way -> answers to each film.
        networks: files of the pose network and the detector.
    """
    rows = {
        f"stream, {way}": [[around_keypoints(poses) for poses in film] for film in answers]
        for way, answers in streams.items()
    }
    pictures = [[frame.jpeg for frame in frames] for frames, _ in films]
    for every, label in ((1, "every frame"), (10, "every 10th")):
        version, tracked = pose_tracker.track(*networks, pictures, "onnxruntime", every)
        rows[f"rtmlib, {label}"] = [film.poses for film in tracked]
    sets = {
        way: [(rate, _with_truth(frames, poses)) for (frames, rate), poses in zip(films, answers, strict=True)]
        for way, answers in rows.items()
    }
    ids = compared(sets)["sets"]
    ways = {
        way: _measures([(frames, poses, rate) for (frames, rate), poses in zip(films, answers, strict=True)])
        | ids[way]["stream"]
        for way, answers in rows.items()
    }
    return {"rtmlib": version, "ways": ways}


def _streamed(client: PoseClient, frames: Sequence[FilmFrame], settings: Mapping[str, Any]) -> Answers:
    stream = client.stream(**settings)
    return [stream.update(frame.jpeg, frame.time_s) for frame in frames]


def _with_truth(frames: Sequence[FilmFrame], answers: Answers) -> list[Detected]:
    return [with_truth(frame, poses) for frame, poses in zip(frames, answers, strict=True)]


def _measures(films: Sequence[tuple[Sequence[FilmFrame], Answers, float]]) -> dict[str, Any]:
    """Return the measures of keypoints, each the mean over the films for which it is known; `found` is a sum."""
    measured = [quality(*film) for film in films]
    lags = [each.lag_frames for each in measured if np.isfinite(each.lag_frames)]
    return {
        "oks": round(float(np.mean([each.oks for each in measured])), 4),
        "found": sum(each.found for each in measured),
        "people": sum(each.people for each in measured),
        "acceleration": round(float(np.mean([each.acceleration for each in measured])), 5),
        "lag_frames": round(float(np.mean(lags)), 3) if lags else None,
    }


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = CommandLine(prog="python -m benchmarks streams", description=__doc__)
    parser.add_argument("--films", type=int, default=2, help="number of films of each kind (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a film (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each speed (default: %(default)s)")
    parser.add_argument("--detector", type=input_path, default=NANO, help="of published size (default: %(default)s)")
    add_output(parser, "streams")
    options = parser.parse_args(argv)
    check_environment()
    pose_tracker.check_environment()
    networks = default_weights()
    rows: list[dict[str, Any]] = []
    films: list[tuple[list[FilmFrame], float]] = []
    streams: dict[str, list[Answers]] = {way: [] for way in SETTINGS}
    with (
        tempfile.TemporaryDirectory() as folder,
        served([networks[0]], networks[1], WAYS["cpu"], Path(folder)) as client,
    ):
        for seed, kind in itertools.product(FILMS[30 : 30 + options.films], KINDS):
            rate, dropped = (60.0, 0.0) if seed % 2 else (25.0, 0.2)
            frames = list(sample_film(seed, kind, rate, options.seconds, dropped).frames())
            ways, answers = measure(client, frames, rate)
            rows.append({"seed": seed, "kind": kind, "rate": rate, "dropped": dropped, "ways": ways})
            print(json.dumps(rows[-1]), flush=True)
            films.append((frames, rate))
            for way, poses in answers.items():
                streams[way].append(poses)
    result = {"films": rows, "beside_rtmlib": beside_rtmlib(films, streams, networks)}
    result["speed"] = stream_speed.measure(BUILT, options.detector, min(options.seconds, _SPEED_S), options.rounds)
    print(json.dumps({name: result[name] for name in ("beside_rtmlib", "speed")}, indent=2))
    write(options.output, result, f"cpu, {stream_speed.PROFILE}")
    return 0
