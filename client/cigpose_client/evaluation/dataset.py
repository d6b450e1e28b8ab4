"""Annotation and detection files in COCO's format."""

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cigpose_client._coco import FIELDS, PERSON
from cigpose_client._poses import FloatArray

Entry: TypeAlias = dict[str, Any]

_EXCERPT = 60  # characters of a wrong file that messages show


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
        images = [fields_of(image, "width", "height") for image in self.images]
        corner = {image["id"]: (image["width"] - 1, image["height"] - 1) for image in images}
        boxes: dict[Any, list[list[float]]] = defaultdict(list)
        for person in self.labelled(*FIELDS.values()):
            x, y, width, height = person["bbox"]
            right, bottom = corner[person["image_id"]]
            box = np.clip([x, y, x + width, y + height], 0, [right, bottom, right, bottom])
            boxes[person["image_id"]].append(box.tolist())
        return {image: np.asarray(of_image, np.float32) for image, of_image in boxes.items()}

    def labelled(self, *fields: str) -> list[Entry]:
        """Return the people with labelled keypoints in one of these fields, without crowds."""
        people = (person for person in self.people if not person.get("iscrowd"))
        return [person for person in people if any(visible(person.get(field, ())) for field in fields)]


def visible(keypoints: list[float]) -> int:
    """Return how many of COCO's flat x, y, visibility triples are labelled."""
    return sum(1 for flag in keypoints[2::3] if flag > 0)


def load_dataset(path: str, limit: int | None = None) -> Dataset:
    """Return the first `limit` pictures of an annotation file, and their people.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no annotations in COCO's format.
    """
    try:
        content = fields_of(read_json(path), "images", "annotations")
        for field in ("images", "annotations"):
            if not isinstance(content[field], list):
                raise ValueError(f"{field} must be a list, is {excerpt(content[field])}")
        images = [fields_of(image, "id", "file_name") for image in content["images"]][:limit]
        for image in images:
            if not isinstance(image["id"], int | str) or not isinstance(image["file_name"], str):
                raise ValueError(f"an image needs one id and the name of a file, found {excerpt(image)}")
        ids = {image["id"] for image in images}
        entries = [fields_of(entry, "image_id", "category_id") for entry in content["annotations"]]
        people = [entry for entry in entries if entry["category_id"] == PERSON]
        for person in people:
            _check_person(person)
    except ValueError as error:
        raise ValueError(f"{path} is no annotation file in COCO's format: {error}") from error
    return Dataset(images, [person for person in people if person["image_id"] in ids])


def _check_person(person: Entry) -> None:
    """Raise ValueError, with the annotation's id, for a box or keypoints of another form than COCO's."""
    points = {field: person[field] for field in FIELDS.values() if field in person}
    forms = {
        "one number or text": {"image_id": isinstance(person["image_id"], int | str)},
        "four finite numbers": {"bbox": _are_numbers(person.get("bbox")) and len(person["bbox"]) == 4},
        "numbers, x, y, visibility of each keypoint": {
            field: _are_numbers(values) and len(values) % 3 == 0 for field, values in points.items()
        },
    }
    for form, fields in forms.items():
        for field, right in fields.items():
            if not right:
                found = excerpt(person[field]) if field in person else "missing"
                raise ValueError(f"{field} of annotation {person.get('id')} must be {form}, is {found}")


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(each, int | float) and math.isfinite(each) for each in values)


def load_results(path: str) -> list[Entry]:
    """Return the entries of a file of COCO keypoint results.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds something else.
    """
    try:
        content = read_json(path)
        if not isinstance(content, list):
            raise ValueError(f"a list was expected, found {excerpt(content)}")
        points = [field for field in FIELDS.values() if content and field in fields_of(content[0], "keypoints")]
        return [fields_of(entry, "image_id", "score", *points) for entry in content]
    except ValueError as error:
        raise ValueError(f"{path} is no file of COCO keypoint results: {error}") from error


def read_json(path: str) -> Any:
    """Return the content of a JSON file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no JSON; the text shows how it begins.
    """
    content = Path(path).read_bytes()
    try:
        return json.loads(content)
    except ValueError as error:
        raise ValueError(f"JSON was expected, found {excerpt(content)}") from error


def fields_of(entry: Any, *fields: str) -> Entry:
    """Return the entry, which must be an object with these fields.

    Raises:
        ValueError: it is not; the text shows what was found.
    """
    if not isinstance(entry, dict):
        raise ValueError(f"an object with {', '.join(fields)} was expected, found {excerpt(entry)}")
    missing = [field for field in fields if field not in entry]
    if missing:
        raise ValueError(f"an object without {', '.join(missing)} was found: {excerpt(entry)}")
    return entry


def excerpt(found: Any) -> str:
    """Return the beginning of a file's unexpected content, for an error message."""
    text = found[:_EXCERPT].decode(errors="replace") if isinstance(found, bytes) else json.dumps(found)
    if not text:
        return "an empty file"
    return repr(text) if isinstance(found, bytes) else text[:_EXCERPT] + ("..." if len(text) > _EXCERPT else "")
