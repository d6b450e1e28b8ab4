"""The accuracy gate: measures any function from picture to people on 200 scenes that no training has seen."""

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cigpose_client import Poses, keypoint_sets
from cigpose_client.evaluation import evaluate, without_duplicates
from cigpose_client.outputs import write_file
from numpy.typing import NDArray

from synthetic.annotations import annotated_visibility, annotations
from synthetic.scene import Person, render_scene
from synthetic.seeds import GATE

PARTS = ("body", "foot", "face", "hand", "whole")  # shown in tables
BBOX_THRESHOLD = 0.1  # average precision ranks people by score, so people with low scores count, too
HISTOGRAM = "histogram.json"
_SETS = {len(each): each for each in (keypoint_sets()[name] for name in ("coco", "coco_wholebody"))}
_ERROR_EDGES = np.array((0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, np.inf))  # in roots of the person's area
_SAME_PERSON_IOU = 0.5
Estimator = Callable[[bytes], Poses]
Points = NDArray[np.float32] | NDArray[np.float64]
_rendered = functools.lru_cache(len(GATE))(render_scene)


@dataclass(frozen=True)
class GateResult:
    """The measurements of a gate run.

    Attributes:
        average_precision: by part (those of `PARTS` that are predicted), 0 to 1; -1 where nothing is annotated.
        people: number of people in the scenes.
        found: number of these that a box overlaps by an IoU of 0.5.
        mean_error: mean distance of their annotated keypoints from the truth, in picture pixels.
        histogram: (K, bins) counts of the errors of each keypoint, in roots of the person's area.
    """

    average_precision: dict[str, float]
    people: int
    found: int
    mean_error: float
    histogram: NDArray[np.int64]


def measure(estimate: Estimator, seeds: Iterable[int] = GATE) -> GateResult:
    """Compare the answers to rendered scenes with the truth.

    Args:
        estimate: returns the people in an encoded picture, with COCO's keypoints or COCO-WholeBody's.
        seeds: seeds of the scenes.
    """
    scenes = [(seed, _rendered(seed)) for seed in seeds]
    answers = [estimate(scene.jpeg) for _, scene in scenes]
    known, truth, results, pairs = _SETS[answers[0].keypoints.shape[1]], annotations(scenes), [], []
    for (seed, scene), answer in zip(scenes, answers, strict=True):
        results += without_duplicates(answer).to_coco(seed, bbox=False)
        pairs += matches(scene.people, answer.bboxes, answer.keypoints)
    metrics = evaluate(truth, results, known)
    mean_error, histogram = _errors(pairs, len(known))
    precision = {part: metrics[part]["AP"] for part in PARTS if part in metrics}
    return GateResult(precision, len(truth.people), len(pairs), mean_error, histogram)


def matches(
    people: Sequence[Person], bboxes: Points, keypoints: Points | Sequence[Points]
) -> list[tuple[Person, Points]]:
    """Match the people of a scene, near ones first, with the boxes that overlap theirs most, each box once.

    Args:
        people: the truth, far to near.
        bboxes: (N, 4) boxes of an answer, xyxy in picture pixels.
        keypoints: (N, K, 2) keypoints of an answer, picture pixels.

    Returns:
        the people whose box overlaps by an IoU of 0.5 at least, with the keypoints of that box.
    """
    free, pairs = list(range(len(bboxes))), []
    for person in reversed(people):
        overlaps = [_overlap(person.bbox_xyxy, bboxes[index]) for index in free]
        if overlaps and max(overlaps) >= _SAME_PERSON_IOU:
            pairs.append((person, keypoints[free.pop(int(np.argmax(overlaps)))]))
    return pairs


def save_histogram(histogram: NDArray[np.int64], folder: Path) -> None:
    """Write `histogram.json`: for each keypoint, how often its error fell between two edges."""
    content = {
        "unit": "root of the person's area",
        "edges": [float(edge) if np.isfinite(edge) else None for edge in _ERROR_EDGES],
        "points": {name: row.tolist() for name, row in zip(_SETS[len(histogram)].names, histogram, strict=True)},
    }
    write_file(folder / HISTOGRAM, json.dumps(content, indent=1))


def _errors(pairs: Sequence[tuple[Person, Points]], count: int) -> tuple[float, NDArray[np.int64]]:
    """Return the mean error in pixels of the annotated among `count` keypoints, and the histogram; see `GateResult`."""
    histogram, pixels = np.zeros((count, len(_ERROR_EDGES) - 1), np.int64), [np.zeros(0)]
    for person, found in pairs:
        annotated = np.flatnonzero(annotated_visibility(person)[:count])
        errors = np.linalg.norm(found - person.points[:count], axis=1)[annotated]
        np.add.at(histogram, (annotated, np.digitize(errors / np.sqrt(person.area), _ERROR_EDGES) - 1), 1)
        pixels.append(errors)
    joined = np.concatenate(pixels)
    return float(joined.mean()) if len(joined) else 0.0, histogram


def _overlap(first: Points, second: Points) -> float:
    """Return the IoU of two boxes, xyxy."""
    sides = np.clip(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]), 0, None)
    union = np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]) - np.prod(sides)
    return float(np.prod(sides) / max(1e-9, union))
