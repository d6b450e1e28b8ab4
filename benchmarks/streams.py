"""`python -m benchmarks streams`: rendered films through the server.

Measures accuracy, shaking, lag, ids and speed of each film, by way of streaming, with the committed small networks.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cigpose_client import PoseClient, Poses

from benchmarks.results import add_output, write
from server.usage import CommandLine, command
from synthetic.accuracy import WAYS, default_weights, served
from synthetic.film_accuracy import check_environment, compared, with_truth
from synthetic.film_measures import quality
from synthetic.films import KINDS, FilmFrame, sample_film
from synthetic.seeds import FILMS

SETTINGS: dict[str, dict[str, Any]] = {
    "every frame": {"smooth": False},
    "every 10th": {"smooth": False, "detect_every": 10},
    "smoothed": {"smooth": True},
}


def measure(client: PoseClient, frames: Sequence[FilmFrame], rate: float) -> dict[str, dict[str, Any]]:
    """Return the measures of one film by way of streaming; `ids` are beside those of ByteTrack on the same boxes."""
    rows, sets = {}, {}
    for way, settings in SETTINGS.items():
        stream, start_s = client.stream(**settings), time.perf_counter()
        answers: list[Poses] = [stream.update(frame.jpeg, frame.time_s) for frame in frames]
        spent_s = time.perf_counter() - start_s
        found = quality(frames, answers, rate)
        sets[way] = [(rate, [with_truth(frame, poses) for frame, poses in zip(frames, answers, strict=True)])]
        rows[way] = {
            "oks": round(found.oks, 4),
            "found": found.found,
            "acceleration": round(found.acceleration, 5),
            "lag_frames": round(found.lag_frames, 3) if np.isfinite(found.lag_frames) else -1.0,
            "frames_per_s": round(len(frames) / spent_s, 1),
        }
    ids = compared(sets)["sets"]
    return {way: {**row, "ids": ids[way]} for way, row in rows.items()}


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = CommandLine(prog="python -m benchmarks streams", description=__doc__)
    parser.add_argument("--films", type=int, default=2, help="number of films of each kind (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a film (default: %(default)s)")
    add_output(parser, "streams")
    options = parser.parse_args(argv)
    check_environment()
    pose, detector = default_weights()
    films: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, served([pose], detector, WAYS["cpu"], Path(folder)) as client:
        for seed in FILMS[30 : 30 + options.films]:
            rate, dropped = (60.0, 0.0) if seed % 2 else (25.0, 0.2)
            for kind in KINDS:
                film = sample_film(seed, kind, rate, options.seconds, dropped)
                row = {"seed": seed, "kind": kind, "rate": rate, "dropped": dropped}
                films.append(row | {"ways": measure(client, list(film.frames()), rate)})
                print(json.dumps(films[-1]), flush=True)
    write(options.output, {"films": films}, "cpu")
    return 0
