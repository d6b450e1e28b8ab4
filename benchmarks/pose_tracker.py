"""rtmlib's PoseTracker on the same files and films as streams, in the environment of `make rtmlib`."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from cigpose_client import Poses

from ensemble.request_parameters import RequestParameters
from export import graph_edit, metadata

CHECKOUT = Path(__file__).parents[1]
PYTHON = CHECKOUT / "out" / "rtmlib" / "venv" / "bin" / "python"
BACKENDS = ("onnxruntime", "openvino")
_WORKER = CHECKOUT / "benchmarks" / "pose_tracker_worker.py"


@dataclass(frozen=True)
class Tracked:
    """The answers to one film.

    Attributes:
        seconds: from encoded pictures to keypoints.
        poses: of each frame. rtmlib returns neither boxes nor ids: boxes are drawn around the keypoints, and the id is
            the row, which is what its tracker orders people by.
    """

    seconds: float
    poses: list[Poses]


def check_environment() -> None:
    """Check that the environment of rtmlib is there.

    Raises:
        ValueError: it is missing.
    """
    if not PYTHON.exists():
        raise ValueError("rtmlib is not installed; run `make rtmlib`")


def track(
    pose: Path, detector: Path, films: Sequence[Sequence[bytes]], backend: str, every: int
) -> tuple[str, list[Tracked]]:
    """Return the version of rtmlib, and its answers to films.

    Args:
        pose: SimCC network, as exported.
        detector: YOLOX, as published.
        films: encoded pictures.
        backend: of `BACKENDS`.
        every: frames from one detection to the next.

    Raises:
        ValueError: the environment is missing.
        RuntimeError: the worker failed; its error is on stderr.
    """
    check_environment()
    meta, defaults = metadata.read(graph_edit.load(pose)), RequestParameters()
    ((*_, height, width),) = graph_edit.shapes(graph_edit.load(detector).graph.input)
    with tempfile.TemporaryDirectory() as folder:
        spec = {
            "pose": str(pose.resolve()),
            "detector": str(detector.resolve()),
            "mean": meta["mean"],
            "std": meta["std"],
            "input_size": (meta["input_w"], meta["input_h"]),
            "detector_size": (width, height),
            "bbox_threshold": defaults.bbox_threshold,
            "nms_threshold": defaults.nms_threshold,
            "backend": backend,
            "det_frequency": every,
            "films": [_saved(film, Path(folder) / str(number)) for number, film in enumerate(films)],
        }
        file = Path(folder) / "spec.json"
        file.write_text(json.dumps(spec), encoding="utf-8")
        done = subprocess.run([PYTHON, "-I", _WORKER, file], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{_WORKER} ended with {done.returncode}:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    tracked = [Tracked(film["seconds"], [_poses(**frame) for frame in film["frames"]]) for film in answer["films"]]
    return answer["rtmlib"], tracked


def around_keypoints(poses: Poses) -> Poses:
    """Return an answer with boxes around the keypoints in place of the detector's, to compare like with like."""
    if not len(poses):
        return poses
    corners = poses.keypoints.min(axis=1), poses.keypoints.max(axis=1)
    return replace(poses, bboxes=np.concatenate(corners, axis=1))


def _saved(film: Sequence[bytes], folder: Path) -> list[str]:
    folder.mkdir()
    paths = [folder / f"{number:05}.jpg" for number in range(len(film))]
    for path, picture in zip(paths, film, strict=True):
        path.write_bytes(picture)
    return [str(path) for path in paths]


def _poses(keypoints: list[Any], scores: list[Any]) -> Poses:
    count = len(keypoints)
    points = np.array(keypoints, np.float32).reshape(count, -1 if count else 0, 2)
    found = Poses(
        bboxes=np.zeros((count, 4), np.float32),
        bbox_scores=np.ones(count, np.float32),
        persons_detected=count,
        keypoints=points,
        keypoint_scores=np.array(scores, np.float32).reshape(points.shape[:2]),
        track_ids=np.arange(1, count + 1),
    )
    return around_keypoints(found)
