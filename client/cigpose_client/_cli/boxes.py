"""Boxes from a file: what this command wrote earlier, or COCO detection results."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cigpose_client._client import PoseClient
from cigpose_client._coco import PERSON
from cigpose_client._image import Image
from cigpose_client._poses import FloatArray, Poses

Given: TypeAlias = tuple[FloatArray, FloatArray]
"""(N, 4) boxes, xyxy in pixels, and their (N,) scores."""

Boxes: TypeAlias = Mapping[int | str, Given]
"""The boxes of many pictures, by name, by the number of the frame, or by COCO's image id."""

_NOBODY: Given = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def load_boxes(path: str) -> Boxes:
    """Return picture's name, or COCO's image id -> boxes and scores.

    Args:
        path: JSON or JSON Lines of `image`, `folder` or `video`, or COCO detection results.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is of another form.
    """
    boxes: dict[int | str, list[list[float]]] = {}
    scores: dict[int | str, list[float]] = {}
    try:
        for key, bbox_xyxy, score in _people(_entries(Path(path).read_text(encoding="utf-8"))):
            boxes.setdefault(key, []).append(bbox_xyxy)
            scores.setdefault(key, []).append(score)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is neither this command's output nor COCO detection results: {error!r}") from error
    return {key: (np.asarray(boxes[key], np.float32), np.asarray(scores[key], np.float32)) for key in boxes}


def of_picture(given: Boxes, *keys: int | str) -> Given:
    """Return the boxes under the first of `keys` that has some; none when no key has."""
    return next((given[key] for key in keys if key in given), _NOBODY)


def estimate_given(client: PoseClient, image: Image, given: Given) -> Poses:
    """Return the keypoints of the people in given boxes, with the given scores."""
    return dataclasses.replace(client.estimate_boxes(image, given[0]), bbox_scores=given[1])


def _entries(text: str) -> list[dict[str, Any]]:
    """Return the entries of a JSON array or of JSON Lines."""
    if text.lstrip().startswith("["):
        return list(json.loads(text))
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _people(entries: list[dict[str, Any]]) -> Iterable[tuple[int | str, list[float], float]]:
    for entry in entries:
        if "image_id" in entry:
            left, top, width, height = entry["bbox"]
            if entry.get("category_id", PERSON) == PERSON:
                yield entry["image_id"], [left, top, left + width, top + height], entry["score"]
        elif "error" not in entry:
            key = entry["picture"] if "picture" in entry else entry["frame"]
            yield from ((key, person["bbox"], person["bbox_score"]) for person in entry["people"])
