"""The floor: what the networks alone cost for the same pictures and crops, at their best batch and threads.

Nothing that serves these networks on this machine can be faster, so throughput is told as a share of it.
"""

import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ensemble.crop import centers_and_scales, crop_persons
from ensemble.letterbox import letterbox
from ensemble.picture import PictureLimits, decode_picture

Crops = NDArray[np.uint8]
_BATCHES = (1, 4, 8, 16)


def crops_of(pictures: list[bytes], bboxes: list[NDArray[np.float32]], size: tuple[int, int]) -> Crops:
    """Return every person's crop, (N, h, w, 3) uint8."""
    parts = [
        crop_persons(decode_picture(encoded, PictureLimits()), *centers_and_scales(boxes, size), size)
        for encoded, boxes in zip(pictures, bboxes, strict=True)
    ]
    return np.concatenate(parts)


def letterboxed(pictures: list[bytes], size: tuple[int, int]) -> Crops:
    """Return every picture as the detector gets it, (N, h, w, 3) uint8."""
    return np.stack([letterbox(decode_picture(encoded, PictureLimits()), size) for encoded in pictures])


def seconds_per_row(model: Path, rows: Crops, repeats: int = 3) -> tuple[float, str]:
    """Return the least time a row costs on the whole machine, and the batch and threads which reach it.

    Args:
        model: served ONNX file with one uint8 input.
        rows: (N, h, w, 3) uint8; batches are cut from them.
        repeats: runs of which the median counts.
    """
    cores = os.cpu_count() or 1
    layouts = {(1, cores), (cores, 1)}  # one session of all cores, and one session a core
    best = (float("inf"), "")
    for (sessions, threads), batch in itertools.product(sorted(layouts), _BATCHES):
        seconds = _measure(model, np.resize(rows, (batch, *rows.shape[1:])), sessions, threads, repeats)
        best = min(best, (seconds, f"batch {batch}, {sessions} sessions of {threads} threads"))
    return best


def decode_seconds(pictures: list[bytes], repeats: int = 5) -> float:
    """Return the time one picture costs to decode on one core."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        for encoded in pictures:
            decode_picture(encoded, PictureLimits())
        times.append((time.perf_counter() - started) / len(pictures))
    return median(times)


def _measure(model: Path, batch: Crops, sessions: int, threads: int, repeats: int) -> float:
    runners = [_session(model, threads) for _ in range(sessions)]
    feeds = {runners[0].get_inputs()[0].name: batch}
    runs = max(2, 16 // len(batch))

    def work(runner: onnxruntime.InferenceSession) -> None:
        for _ in range(runs):
            runner.run(None, feeds)

    times = []
    with ThreadPoolExecutor(sessions) as pool:
        for _ in range(repeats + 1):
            started = time.perf_counter()
            list(pool.map(work, runners))
            times.append((time.perf_counter() - started) / (runs * sessions * len(batch)))
    return median(times[1:])  # the first run warms up


def _session(model: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
