"""Runs rtmlib's PoseTracker over films, in the environment of `make rtmlib`.

The argument is a JSON file: `pose` and `detector` (ONNX files), `mean` and `std` (RGB), `input_size` and
`detector_size` (w, h), `bbox_threshold`, `nms_threshold`, `backend`, `det_frequency`, and `films`, each a list of JPEG
files. Stdout is one JSON object: the version of the package, and for each film `seconds` and `frames`, each with
`keypoints` (N, K, 2) and `scores` (N, K).
"""

import contextlib
import json
import sys
import time
from importlib.metadata import version

import cv2
import numpy as np
from rtmlib import YOLOX, PoseTracker, RTMPose


class RgbPose(RTMPose):
    """A network of RGB pictures; rtmlib passes crops on as OpenCV reads them, in BGR."""

    def inference(self, img):
        """Return the answers to a normalised BGR crop (H, W, 3)."""
        return super().inference(img[:, :, ::-1])


class Solution:
    """Detector and pose network with the given files, and people only."""

    det_categories = (0,)

    def __init__(self, spec, **options):
        del options["to_openpose"]
        self.det_model = YOLOX(
            spec["detector"],
            spec["detector_size"][::-1],
            nms_thr=spec["nms_threshold"],
            score_thr=spec["bbox_threshold"],
            det_mode="multiclass",
            **options,
        )
        mean, std = spec["mean"][::-1], spec["std"][::-1]
        self.pose_model = RgbPose(spec["pose"], tuple(spec["input_size"]), mean, std, **options)


def plain(keypoints, scores):
    """Return an answer as lists."""
    return {"keypoints": np.asarray(keypoints).tolist(), "scores": np.asarray(scores).tolist()}


def tracked(tracker, paths):
    """Return the time for a film, from encoded pictures to keypoints, and the answers."""
    pictures = []
    for path in paths:
        with open(path, "rb") as file:
            pictures.append(np.frombuffer(file.read(), np.uint8))
    tracker.reset()
    tracker(cv2.imdecode(pictures[0], cv2.IMREAD_COLOR))  # the first run of a network is slower
    tracker.reset()
    started_s = time.perf_counter()
    answers = [tracker(cv2.imdecode(picture, cv2.IMREAD_COLOR)) for picture in pictures]
    return {"seconds": time.perf_counter() - started_s, "frames": [plain(*answer) for answer in answers]}


with open(sys.argv[1], encoding="utf-8") as file:
    spec = json.load(file)
with contextlib.redirect_stdout(sys.stderr):
    tracker = PoseTracker(
        lambda **options: Solution(spec, **options), det_frequency=spec["det_frequency"], backend=spec["backend"]
    )
    films = [tracked(tracker, film) for film in spec["films"]]
print(json.dumps({"rtmlib": version("rtmlib"), "films": films}))
