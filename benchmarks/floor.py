"""The floor: the cost of the networks alone, for the same pictures and crops, at their best batch and threads.

No server of these networks can be faster with this runtime on this machine, so throughput is reported as a share of the
floor's.
"""

import importlib
import itertools
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ensemble.geometry import Letterbox, TopDownCrop
from ensemble.steps.decode_image import PictureLimits, decode_picture

CUDA = "CUDA"
Crops = NDArray[np.uint8]
Rows = Mapping[str, NDArray[Any]]
Run = Callable[[Rows], Any]
_BATCHES = (1, 4, 8, 16)
_ROWS = 16  # smallest number of rows of a session in one measurement


@dataclass(frozen=True)
class Layout:
    """The rows of one execution, the number of concurrent sessions, and the threads of each."""

    batch: int
    sessions: int
    threads: int

    def __str__(self) -> str:
        return f"batch {self.batch}, {self.sessions} x {self.threads} threads"


class NetworkFloor:
    """One network alone. The constructor finds the best layout, which `seconds_per_row` measures.

    Args:
        model: served ONNX file.
        rows: arrays of N rows for its inputs, from which the batches are made.
        runtime: "" for ONNX Runtime on CPUs, `CUDA` for ONNX Runtime on a GPU, `FP32` or `BF16` for OpenVINO.
    """

    def __init__(self, model: Path, rows: Rows, runtime: str = ""):
        self._model, self._rows, self._runtime = model, rows, runtime
        cores = os.cpu_count() or 1
        layouts = {(1, cores), (cores, 1)}  # one session on all cores, and one session per core
        tried = [Layout(batch, *layout) for layout, batch in itertools.product(sorted(layouts), _BATCHES)]
        self.layout = min(tried, key=lambda layout: median(self._sample(self._runners(layout), layout, 3)))
        self._best = self._runners(self.layout)

    def seconds_per_row(self) -> float:
        """Return the time of the whole machine for one row, at the best layout."""
        return median(self._sample(self._best, self.layout, 2))

    def _runners(self, layout: Layout) -> list[Run]:
        return [session(self._model, layout.threads, self._runtime) for _ in range(layout.sessions)]

    def _sample(self, runners: list[Run], layout: Layout, repeats: int) -> list[float]:
        batch = {name: np.resize(each, (layout.batch, *each.shape[1:])) for name, each in self._rows.items()}
        runs = max(2, _ROWS // layout.batch)

        def work(run: Run) -> None:
            for _ in range(runs):
                run(batch)

        rows = runs * layout.sessions * layout.batch
        with ThreadPoolExecutor(layout.sessions) as pool:
            times = [seconds_of_run(lambda: list(pool.map(work, runners))) / rows for _ in range(repeats + 1)]
        return times[1:]  # the first run warms up


@dataclass(frozen=True)
class Floor:
    """Detector, pose network and decoding for one set of pictures.

    Attributes:
        pose: the pose network alone.
        detector: the detector alone.
        pictures: the encoded pictures.
        people: number of people in all of them.
    """

    pose: NetworkFloor
    detector: NetworkFloor
    pictures: list[bytes]
    people: int

    def measure(self) -> dict[str, float]:
        """Return the milliseconds of each part, and the pictures per second that they allow."""
        per_picture, per_person = self.detector.seconds_per_row(), self.pose.seconds_per_row()
        decode = seconds_of_run(lambda: [decode_picture(picture, PictureLimits()) for picture in self.pictures])
        decode /= len(self.pictures) * (os.cpu_count() or 1)  # every core decodes
        people = self.people / len(self.pictures)
        return {
            "pictures_per_s": 1 / (per_picture + people * per_person + decode),
            "people_per_picture": people,
            "detector_ms": per_picture * 1000,
            "pose_ms_per_person": per_person * 1000,
            "decode_ms": decode * 1000,
        }


def crops_of(pictures: list[bytes], bboxes: list[NDArray[np.float32]], size: tuple[int, int]) -> Crops:
    """Return every person's crop, (N, h, w, 3) uint8."""
    crop = TopDownCrop(size)
    parts = [
        crop.apply(decode_picture(encoded, PictureLimits()), *crop.regions(boxes))
        for encoded, boxes in zip(pictures, bboxes, strict=True)
    ]
    return np.concatenate(parts)


def letterboxed(pictures: list[bytes], size: tuple[int, int]) -> Crops:
    """Return the detector's input for every picture, (N, h, w, 3) uint8."""
    return np.stack([Letterbox(size).apply(decode_picture(encoded, PictureLimits())) for encoded in pictures])


def seconds_of_run(run: Callable[[], Any]) -> float:
    """Return the time of one call in seconds."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def session(model: Path, threads: int, runtime: str = "") -> Run:
    """Return a function that runs a served network as the server's backend would."""
    if runtime in ("FP32", "BF16"):
        backend: Any = importlib.import_module("server.backends.onnxruntime.openvino_session")
        compiled = backend.OpenVinoSession(model, threads, {"FP32": "f32", "BF16": "bf16"}[runtime])
        outputs = [output.name for output in compiled.get_outputs()]
        return lambda batch: compiled.run(outputs, batch)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    provider = "CUDAExecutionProvider" if runtime == CUDA else "CPUExecutionProvider"
    runner = onnxruntime.InferenceSession(model, options, providers=[provider])
    return lambda batch: runner.run(None, batch)
