"""Measures of ids on films: switches (CLEAR) and IDF1, and streams on recorded detections, without a server."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from cigpose_client import Poses
from cigpose_client._retry import Call
from cigpose_client.streams.association import assign, overlaps
from cigpose_client.streams.frame import frame_call
from cigpose_client.streams.options import StreamOptions
from cigpose_client.streams.tracks import State

from synthetic.film_detections import Detected

Ids: TypeAlias = Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]
"""Ids (P,) and boxes (P, 4) of each frame."""

_SAME_IOU = 0.5
_KEPT = 1000.0  # preference for the pair of the last frame


def tracked(frames: Iterable[Detected], options: StreamOptions = StreamOptions(smooth=False)) -> list[Poses]:  # noqa: B008 - frozen
    """Return what a stream answers to recorded detections, with detection in every frame."""
    state, answers = State(), []
    for frame in frames:

        def ask(_: object, poses: Poses = frame.poses) -> Call:
            return poses
            yield

        try:
            next(frame_call(state, frame.time_s, options, ask))
        except StopIteration as stop:
            state, poses = stop.value
            answers.append(poses)
    return answers


def id_switches(truth: Ids, answers: Ids) -> int:
    """Return how often a person is answered with another id than before.

    Source: CLEAR MOT, Bernardin and Stiefelhagen 2008: a pair is kept while its IoU is 0.5 at least.
    """
    last: dict[int, int] = {}
    switches = 0
    for (ids, boxes), (found, found_boxes) in zip(truth, answers, strict=True):
        iou = overlaps(np.asarray(boxes, np.float64).reshape(-1, 4), np.asarray(found_boxes, np.float64).reshape(-1, 4))
        kept = np.array([[last.get(int(own)) == int(other) for other in found] for own in ids]).reshape(iou.shape)
        for row, column in zip(*assign(np.where(iou >= _SAME_IOU, iou + _KEPT * kept, 0.0), _SAME_IOU), strict=True):
            own, other = int(ids[row]), int(found[column])
            switches += last.get(own, other) != other
            last[own] = other
    return switches


def id_score(truth: Ids, answers: Ids) -> float:
    """Return IDF1: twice the boxes with the right id, divided by all boxes of the truth and the answers.

    Source: Ristani et al. 2016; ids are paired one to one for the whole film.
    """
    common: dict[tuple[int, int], int] = {}
    for (ids, boxes), (found, found_boxes) in zip(truth, answers, strict=True):
        iou = overlaps(np.asarray(boxes, np.float64).reshape(-1, 4), np.asarray(found_boxes, np.float64).reshape(-1, 4))
        for row, column in np.argwhere(iou >= _SAME_IOU):
            pair = int(ids[row]), int(found[column])
            common[pair] = common.get(pair, 0) + 1
    owns, others = (sorted({pair[side] for pair in common}) for side in (0, 1))
    counts = np.array([[common.get((own, other), 0) for other in others] for own in owns], np.float64)
    right = counts[assign(counts, 1.0)].sum() if common else 0.0
    total = sum(len(ids) for ids, _ in truth) + sum(len(ids) for ids, _ in answers)
    return float(2 * right / total) if total else 1.0
