"""Annotation and detection files in COCO's format."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cigpose_client._coco import FIELDS, PERSON
from cigpose_client._poses import FloatArray

Entry: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Dataset:
    """The pictures and people of one annotation file.

    Attributes:
        images: COCO's image entries, in the order of the file.
        people: COCO's annotations of people in these images.
    """

    images: list[Entry]
    people: list[Entry]

    def has(self, field: str, points: int) -> bool:
        """Return whether the annotations hold `points` keypoints in `field`."""
        return any(len(person.get(field, ())) == 3 * points for person in self.people)

    def ground_truth_boxes(self) -> dict[Any, FloatArray]:
        """Return image id -> (N, 4) float32 boxes, xyxy, of the people that have keypoints, cut at the picture's edge.

        Source: MMPose, CocoDataset: crowds and people without keypoints are no test cases; boxes end at w - 1, h - 1.
        """
        corner = {image["id"]: (image["width"] - 1, image["height"] - 1) for image in self.images}
        boxes: dict[Any, list[list[float]]] = defaultdict(list)
        for person in self.people:
            if not person.get("iscrowd") and any(visible(person.get(field, ())) for field in FIELDS.values()):
                x, y, width, height = person["bbox"]
                right, bottom = corner[person["image_id"]]
                box = np.clip([x, y, x + width, y + height], 0, [right, bottom, right, bottom])
                boxes[person["image_id"]].append(box.tolist())
        return {image: np.asarray(of_image, np.float32) for image, of_image in boxes.items()}


def visible(keypoints: list[float]) -> int:
    """Return how many of COCO's flat x, y, visibility triples are labelled."""
    return sum(1 for flag in keypoints[2::3] if flag > 0)


def load_dataset(path: str, limit: int | None = None) -> Dataset:
    """Return the first `limit` pictures of an annotation file, and their people.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no annotations in COCO's format.
    """
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    try:
        images = content["images"][:limit]
        ids = {image["id"] for image in images}
        people = [entry for entry in content["annotations"] if entry["image_id"] in ids]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is no annotation file in COCO's format: {error!r}") from error
    return Dataset(images, [entry for entry in people if entry["category_id"] == PERSON])
