"""Average precision as COCO-WholeBody defines it, computed by pycocotools: body, foot, face, hands and all together."""

import contextlib
import copy
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ensemble.keypoints import keypoint_set

Floats = NDArray[np.float32]

_SET = keypoint_set("coco_wholebody")
_WHOLE = "whole"
_FIELDS = {
    "body": ("keypoints", None),
    "foot": ("foot_kpts", "foot_valid"),
    "face": ("face_kpts", "face_valid"),
    "left_hand": ("lefthand_kpts", "lefthand_valid"),
    "right_hand": ("righthand_kpts", "righthand_valid"),
}
PARTS = ("body", "foot", "face", "hand", _WHOLE)  # what a table shows
_CLEAR = 0.2  # key points with a lower score do not count for the person's score
_SAME_PERSON = 0.9  # object key point similarity


@dataclass(frozen=True)
class Prediction:
    """What was found in one picture.

    Attributes:
        image_id: of the annotations.
        bbox_scores: (N,).
        keypoints: (N, 133, 2) picture pixels.
        keypoint_scores: (N, 133).
    """

    image_id: int
    bbox_scores: Floats
    keypoints: Floats
    keypoint_scores: Floats


def evaluate(truth: dict[str, Any], predictions: Sequence[Prediction]) -> dict[str, float]:
    """Return the average precision of each part, 0 to 1; `hand` is the mean of both hands, `whole` all 133 points.

    Args:
        truth: a COCO-WholeBody document.
        predictions: one for each picture in which something was found.

    Source: MMPose, CocoWholeBodyMetric: a person's score is the box score times the mean of the key point scores
    above 0.2, and duplicates are dropped at a similarity of 0.9. Parts without valid annotation are ignored.
    """
    rows = [row for prediction in predictions for row in _results(prediction)]
    parts = {part: _SET.parts[part] for part in _FIELDS} | {_WHOLE: (0, len(_SET))}
    table = {part: _average_precision(truth, rows, part, span) for part, span in parts.items()}
    table["hand"] = (table["left_hand"] + table["right_hand"]) / 2
    return table


def instance_scores(bbox_scores: Floats, keypoint_scores: Floats) -> Floats:
    """Return the score (N,) that ranks people: box score times the mean of the key point scores above 0.2."""
    clear = keypoint_scores > _CLEAR
    total = np.where(clear, keypoint_scores, 0).sum(axis=1)
    return np.asarray(bbox_scores * total / np.maximum(clear.sum(axis=1), 1), np.float32)


def point_similarities(points: Floats, others: Floats, area: float) -> Floats:
    """Return how similar (133,) each key point of two poses (133, 2) is, for a person of `area` pixels.

    Source: COCO's object key point similarity; a person's is the mean over the annotated points.
    """
    squares = ((points - others) ** 2).sum(axis=-1)
    variances = (2 * np.array(_SET.sigmas)) ** 2
    return np.asarray(np.exp(-squares / (2 * variances * (area + 1e-9))), np.float32)


def _results(prediction: Prediction) -> list[dict[str, Any]]:
    scores = instance_scores(prediction.bbox_scores, prediction.keypoint_scores)
    rows = []
    for index in _distinct(prediction.keypoints, scores):
        points = np.column_stack((prediction.keypoints[index], prediction.keypoint_scores[index]))
        rows.append({"image_id": prediction.image_id, "score": float(scores[index]), "points": points})
    return rows


def _distinct(keypoints: Floats, scores: Floats) -> list[int]:
    """Return the indices of people, best first, without those that repeat a better one."""
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        person = keypoints[index]
        area = float(np.prod(person.max(axis=0) - person.min(axis=0)))
        if all(point_similarities(person, keypoints[other], area).mean() < _SAME_PERSON for other in kept):
            kept.append(int(index))
    return kept


def _average_precision(truth: dict[str, Any], rows: list[dict[str, Any]], part: str, span: tuple[int, int]) -> float:
    first, end = span
    document = {key: truth[key] for key in ("images", "categories")} | {
        "annotations": [_part_annotation(entry, part) for entry in truth["annotations"]]
    }
    results = [
        {
            "image_id": row["image_id"],
            "category_id": 1,
            "score": row["score"],
            "keypoints": row["points"][first:end].ravel().tolist(),
        }
        for row in rows
    ]
    if not results:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools talks
        ground = COCO()
        ground.dataset = copy.deepcopy(document) | {"info": {}}
        ground.createIndex()
        run = COCOeval(ground, ground.loadRes(results), "keypoints")
        run.params.kpt_oks_sigmas = np.array(_SET.sigmas[first:end])
        run.evaluate()
        run.accumulate()
        run.summarize()
    return max(0.0, float(run.stats[0]))  # pycocotools says -1 where nothing is annotated


def _part_annotation(entry: dict[str, Any], part: str) -> dict[str, Any]:
    """Return the annotation as pycocotools reads it, with the points of one part only.

    Where the part is not annotated, pycocotools ignores what is found about the person's box, but only once a person;
    in a crowd the next answer would then count as wrong. `iscrowd` lifts that limit.
    """
    names = list(_FIELDS) if part == _WHOLE else [part]
    triples: list[float] = []
    for field, flag in (_FIELDS[name] for name in names):
        values = entry[field]
        triples += values if flag is None or entry[flag] else [0.0] * len(values)
    count = sum(value > 0 for value in triples[2::3])
    kept = {key: entry[key] for key in ("id", "image_id", "category_id", "area", "bbox")}
    return kept | {"iscrowd": int(entry["iscrowd"] or not count), "keypoints": triples, "num_keypoints": count}
