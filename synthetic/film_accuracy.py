"""`python -m synthetic.film_accuracy`: the ids of streams on films, beside ByteTrack's on the same detections.

HOTA, IDF1, MOTA and switches of ids are those of the package `trackers`, in the environment of `make trackers`: an
answer is a person of the truth if their boxes overlap by half. `switches_by_keypoints` asks for an OKS of 0.5 instead.
The rows of `OWN_IDS` have ids without any error: those of the people whom the answers fit best, by the truth. The
detections are the truth with simulated errors, and the committed networks' answers to the rendered frames, without a
server. The record is `weights/film_ids.json`.
"""

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from cigpose_client import Poses, keypoint_sets
from cigpose_client._retry import Call
from cigpose_client.outputs import write_file
from cigpose_client.streams.association import Array, assign, oks, overlaps, sizes
from cigpose_client.streams.frame import frame_call, frame_pixels
from cigpose_client.streams.options import StreamOptions
from cigpose_client.streams.tracks import State

from export.repository import plan
from server.usage import CommandLine, command, output_path
from synthetic.accuracy import CHECKOUT, default_weights
from synthetic.film_detections import Detected, detections
from synthetic.films import Film, FilmFrame, sample_film
from synthetic.seeds import FILMS

RECORD = CHECKOUT / "weights" / "film_ids.json"
PYTHON = CHECKOUT / "out" / "trackers" / "venv" / "bin" / "python"
KINDS = ("crossing", "hiding", "leaving")
OWN_IDS = {"keypoints' own": 0.0, "both's own": 0.5}  # row -> share of the box; the rest is that of the keypoints
RATE = 25.0
_AREA = 0.53  # of a box, that a person takes; the usual value where areas are not annotated
_LIKE = 0.1  # fit from which on an answer may be somebody's
_WORKER = CHECKOUT / "synthetic" / "film_ids_worker.py"

Frames: TypeAlias = Sequence[Detected]


def films(count: int, kind: str) -> list[Film]:
    """Return the films of a kind, of seeds by which nothing was tuned; every other one has dropped frames."""
    return [sample_film(seed, kind, RATE, dropped=0.2 * (seed % 2)) for seed in FILMS[10 : 10 + count]]


def tracked(frames: Iterable[Detected], options: StreamOptions = StreamOptions(smooth=False)) -> list[Detected]:  # noqa: B008 - frozen
    """Return the frames with the answers of a stream, which has ids, to their detections in every frame."""
    state, answers = State(), []
    for frame in frames:

        def ask(_: object, poses: Poses = frame.poses) -> Call:
            return poses
            yield

        pixels = frame_pixels(state, options, frame.picture, frame.picture) if frame.picture else None
        try:
            next(frame_call(state, frame.time_s, options, ask, pixels))
        except StopIteration as stop:
            state, poses = stop.value
            answers.append(replace(frame, poses=poses, picture=b""))
    return answers


def with_truth(frame: FilmFrame, poses: Poses) -> Detected:
    """Return the answer to a rendered frame beside its truth."""
    people = [each.person for each in frame.people]
    return Detected(
        frame.time_s,
        np.array([each.track_id for each in frame.people], np.int64),
        np.array([each.bbox_xyxy for each in people], np.float64).reshape(-1, 4),
        np.array([each.points[:17] for each in people], np.float64).reshape(-1, 17, 2),
        np.array([each.visible[:17] == 2 for each in people], np.bool_).reshape(-1, 17),
        poses,
        frame.jpeg,
    )


def with_own_ids(frames: Iterable[Detected], boxes: float) -> list[Detected]:
    """Return the frames with the ids of the people whom the answers fit best; who fits nobody is somebody new.

    Args:
        frames: of a film.
        boxes: share of the IoU in the fit, 0 to 1; the rest is that of the OKS.
    """
    answers, new = [], itertools.count(-1, -1)
    for frame in frames:
        ids = np.array([next(new) for _ in range(len(frame.poses))], np.int64)
        found = frame.poses.bboxes.astype(np.float64)
        people, rows = assign(boxes * overlaps(frame.bboxes, found) + (1 - boxes) * _oks(frame), _LIKE)
        ids[rows] = frame.track_ids[people]
        answers.append(replace(frame, poses=replace(frame.poses, track_ids=ids), picture=b""))
    return answers


def _oks(frame: Detected) -> Array:
    """Return the (P, N) OKS of the truth and the answer."""
    poses, sigma = frame.poses, np.array(keypoint_sets()["coco"].sigmas)
    points = poses.keypoints[:, :17].astype(np.float64)
    tolerances = 2 * sigma * np.sqrt(_AREA) * sizes(frame.bboxes)[:, None]
    return oks(frame.keypoints, points, frame.visible.astype(np.float64), np.ones(points.shape[:2]), tolerances)


def network_answers(film: Film) -> Iterator[Detected]:
    """Yield the answers of the committed networks to the frames of a film."""
    pose, detector = default_weights()
    run = plan([pose], detector).in_process("pose", threads=1)
    for frame in film.frames():
        answer = run(image=frame.jpeg)
        names = ("bboxes", "bbox_scores", "keypoints", "keypoint_scores")
        arrays = {name: np.asarray(answer[name]) for name in names}
        count = int(answer["persons_detected"][0])
        yield with_truth(frame, Poses(**arrays, persons_detected=count, set_name="coco_wholebody", kind="top_down"))


def compared(sets: Mapping[str, Sequence[tuple[float, Frames]]]) -> dict[str, Any]:
    """Return the measures of ids for sets of films, by the worker in the environment of `make trackers`.

    Args:
        sets: name -> films; of each, the frames per second and the answers, with `track_ids`.

    Returns:
        `trackers`: the version of the package. `sets`: name -> `stream`, `ByteTrack` and `ByteTrack, all detections`,
        each with `hota`, `idf1` and `mota` (0 to 1), and the numbers `switches` and `switches_by_keypoints`.

    Raises:
        ValueError: the environment is missing.
        RuntimeError: the worker failed; its error is on stderr.
    """
    check_environment()
    content = {
        name: [{"rate": rate, "frames": [_plain(frame) for frame in frames]} for rate, frames in group]
        for name, group in sets.items()
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(content, file)
        file.flush()
        done = subprocess.run([PYTHON, "-I", _WORKER, file.name], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"{_WORKER} ended with {done.returncode}; its error is above")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def check_environment() -> None:
    """Check that the environment of the package `trackers` is there.

    Raises:
        ValueError: it is missing.
    """
    if not PYTHON.exists():
        raise ValueError("the package `trackers` is not installed; run `make trackers`")


def _plain(frame: Detected) -> dict[str, Any]:
    poses = frame.poses
    return {
        "time_s": frame.time_s,
        "true_ids": frame.track_ids.tolist(),
        "true_boxes": frame.bboxes.tolist(),
        "oks": _oks(frame).tolist(),
        "boxes": poses.bboxes.tolist(),
        "scores": poses.bbox_scores.tolist(),
        "ids": [] if poses.track_ids is None else poses.track_ids.tolist(),
    }


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = CommandLine(prog="python -m synthetic.film_accuracy", description=__doc__)
    parser.add_argument("--films", type=int, default=12, help="of each kind and source (default: %(default)s)")
    parser.add_argument("--output", type=output_path, default=RECORD, help="default: %(default)s")
    options = parser.parse_args(argv)
    check_environment()
    sources = {"simulated": detections, "networks": network_answers}
    answered = {
        f"{source}, {kind}": [[*answers(film)] for film in films(options.films, kind)]
        for source, answers in sources.items()
        for kind in KINDS
    }

    def measured(with_ids: Callable[[Frames], list[Detected]]) -> dict[str, Any]:
        return compared({name: [(RATE, with_ids(film)) for film in group] for name, group in answered.items()})

    result = measured(tracked)
    for row, share in OWN_IDS.items():
        for name, rows in measured(partial(with_own_ids, boxes=share))["sets"].items():
            result["sets"][name][row] = rows["stream"]
    text = json.dumps({"films": options.films, **result}, indent=2) + "\n"
    write_file(options.output, text)
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
