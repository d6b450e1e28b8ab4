"""Boxes from a file: earlier output of this command, or COCO detection results."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cigpose_client._client import PoseClient
from cigpose_client._coco import PERSON
from cigpose_client._image import Image
from cigpose_client._poses import FloatArray, Poses
from cigpose_client.evaluation.dataset import Entry, excerpt, fields_of

Given: TypeAlias = tuple[FloatArray, FloatArray]
"""(N, 4) boxes, xyxy in pixels, and their (N,) scores."""

Boxes: TypeAlias = Mapping[int | str, Given]
"""Picture name, frame number or COCO image id -> boxes and scores."""

_NOBODY: Given = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def load_boxes(path: str) -> Boxes:
    """Return the boxes in a file.

    Args:
        path: JSON or JSON Lines of `image`, `folder` or `video`, or COCO detection results.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file has another form.
    """
    boxes: dict[int | str, list[list[float]]] = {}
    scores: dict[int | str, list[float]] = {}
    try:
        for key, bbox_xyxy, score in _people(_entries(Path(path).read_bytes())):
            boxes.setdefault(key, []).append(bbox_xyxy)
            scores.setdefault(key, []).append(score)
    except ValueError as error:
        raise ValueError(f"{path} is neither this command's output nor COCO detection results: {error}") from error
    return {key: (np.asarray(boxes[key], np.float32), np.asarray(scores[key], np.float32)) for key in boxes}


def of_picture(given: Boxes, *keys: int | str) -> Given:
    """Return the boxes under the first of `keys` in `given`; no boxes when none of the keys is there."""
    return next((given[key] for key in keys if key in given), _NOBODY)


def estimate_given(client: PoseClient, image: Image, given: Given) -> Poses:
    """Return the keypoints of the people in given boxes, with the given scores."""
    return dataclasses.replace(client.estimate_boxes(image, given[0]), bbox_scores=given[1])


def estimate(client: PoseClient, image: Image, given: Boxes | None, *keys: int | str) -> Poses:
    """Return the people in an image: of the detector if `given` is None, else those in its given boxes.

    Args:
        client: sends the request.
        image: as for `PoseClient.estimate`.
        given: boxes of --boxes.
        keys: see `of_picture`.
    """
    return client.estimate(image) if given is None else estimate_given(client, image, of_picture(given, *keys))


def _entries(content: bytes) -> list[Any]:
    """Return the entries of a JSON array or of JSON Lines."""
    lines = [content] if content.lstrip().startswith(b"[") else content.splitlines()
    try:
        entries = [json.loads(line) for line in lines if line.strip()]
    except ValueError as error:
        raise ValueError(f"JSON was expected, found {excerpt(content)}") from error
    if not entries:
        raise ValueError("the file is empty")
    return list(entries[0]) if isinstance(entries[0], list) else entries


def _people(entries: list[Any]) -> Iterator[tuple[int | str, list[float], float]]:
    for entry in entries:
        if not isinstance(entry, dict):
            raise ValueError(f"an object with bbox, score or people was expected, found {excerpt(entry)}")
        if "image_id" in entry:
            if entry.get("category_id", PERSON) == PERSON:
                (left, top, width, height), score = _box(entry, "score")
                yield entry["image_id"], [left, top, left + width, top + height], score
        elif "error" not in entry:
            name = "frame" if "frame" in entry else "picture"
            people = fields_of(entry, name, "people")["people"]
            if not isinstance(people, list):
                raise ValueError(f"a list of people was expected, found {excerpt(people)}")
            yield from ((entry[name], *_box(person, "bbox_score")) for person in people)


def _box(entry: Entry, score: str) -> tuple[list[float], float]:
    """Return the four numbers of an entry's bbox, and its score.

    Raises:
        ValueError: the bbox or the score has another form.
    """
    fields_of(entry, "bbox", score)
    numbers = [*entry["bbox"], entry[score]] if isinstance(entry["bbox"], list) else []
    if len(numbers) != 5 or not all(isinstance(number, int | float) for number in numbers):
        raise ValueError(f"a bbox of four numbers and a {score} were expected, found {excerpt(entry)}")
    return numbers[:4], numbers[4]
