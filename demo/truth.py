"""What the demo's answers are worth: people found of those rendered, and how far their keypoints are off."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from cigpose_client.evaluation import FIELDS
from numpy.typing import NDArray

_SAME_PERSON_IOU = 0.5


def compare(answers: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> str:
    """Return one sentence for answers of `cigpose-client image` against COCO-WholeBody annotations.

    A person counts as found when an answered box overlaps the true one by an IoU of 0.5; the error is the mean distance
    in picture pixels over all points that are seen. A network of 17 points is compared on the body alone.
    """
    found, expected, distances = 0, 0, []
    for answer, image in zip(answers, truth["images"], strict=True):
        people = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
        expected += len(people)
        for person in people:
            match = _same_person(person, answer["people"])
            if match is not None:
                found += 1
                distances.append(_distances(person, match))
    text = f"{found} of {expected} rendered people found"
    if distances:
        text += f"; mean error of {len(np.concatenate(distances))} visible keypoints: {_mean(distances):.1f} pixels"
    return text


def _same_person(person: Mapping[str, Any], people: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    left, top, width, height = person["bbox"]
    box = np.array([left, top, left + width, top + height])
    overlaps = [_iou(box, np.array(candidate["bbox"])) for candidate in people]
    best = int(np.argmax(overlaps)) if overlaps else -1
    return people[best] if overlaps and overlaps[best] >= _SAME_PERSON_IOU else None


def _iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    overlap = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return float(overlap / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - overlap))


def _distances(person: Mapping[str, Any], answer: Mapping[str, Any]) -> NDArray[np.float64]:
    points = np.concatenate([np.array(person[field], float).reshape(-1, 3) for field in FIELDS.values()])
    estimated = np.array(answer["keypoints"], float)[:, :2]
    seen = points[: len(estimated), 2] == 2
    distances: NDArray[np.float64] = np.linalg.norm(points[: len(estimated), :2] - estimated, axis=1)[seen]
    return distances


def _mean(distances: Sequence[NDArray[np.float64]]) -> float:
    return float(np.concatenate(distances).mean())
