"""The truth about scenes as COCO-WholeBody annotations.

As in that data set, a face or a hand is annotated (`face_valid`, ...) only where it is large and visible enough for a
person to mark its points; otherwise its points carry visibility 0. Hidden points of the body and the feet are
annotated (visibility 1) where they lie within the box of what is seen of the person.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from cigpose_client.evaluation import FIELDS
from numpy.typing import NDArray

from ensemble.keypoints import keypoint_set
from synthetic.scene import Person, Scene

_SET = keypoint_set("coco_wholebody")
# part of the keypoint set -> prefix of its fields, smallest side of its box in pixels, smallest share of points seen
_SMALL_PARTS = {
    "face": ("face", 12.0, 0.35),
    "left_hand": ("lefthand", 10.0, 0.5),
    "right_hand": ("righthand", 10.0, 0.5),
}


def annotated_visibility(person: Person) -> NDArray[np.int64]:
    """Return the visibility (133,) that the annotation carries: 2 seen, 1 hidden, 0 not annotated."""
    visible = person.visible.copy()
    low, high = person.bbox_xyxy[:2], person.bbox_xyxy[2:]
    margin = 0.1 * (high - low)
    within = ((person.points >= low - margin) & (person.points <= high + margin)).all(axis=1)
    visible[(visible == 1) & ~within] = 0
    for part in _SMALL_PARTS:
        if not part_valid(person, part):
            visible[slice(*_SET.parts[part])] = 0
    return visible


def part_valid(person: Person, part: str) -> bool:
    """Return whether the face or hand `part` is large and visible enough to be annotated."""
    _, smallest, share = _SMALL_PARTS[part]
    rows = slice(*_SET.parts[part])
    extent = person.points[rows].max(axis=0) - person.points[rows].min(axis=0)
    return bool(extent.max() >= smallest and (person.visible[rows] == 2).mean() >= share)


def annotation(person: Person, image_id: int, annotation_id: int) -> dict[str, Any]:
    """Return one person in COCO-WholeBody's form."""
    visible = annotated_visibility(person)
    box = _xywh(person.bbox_xyxy[:2], person.bbox_xyxy[2:])
    entry: dict[str, Any] = {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "area": person.area,
        "bbox": box,
    }
    for part, field in FIELDS.items():
        rows = slice(*_SET.parts[part])
        entry[field] = _triples(person.points[rows], visible[rows])
    for part, (prefix, _, _) in _SMALL_PARTS.items():
        points = person.points[slice(*_SET.parts[part])]
        entry[f"{prefix}_box"] = _xywh(points.min(axis=0), points.max(axis=0))
        entry[f"{prefix}_valid"] = part_valid(person, part)
    entry["foot_valid"] = bool((visible[slice(*_SET.parts["foot"])] > 0).any())
    entry["num_keypoints"] = int((visible[slice(*_SET.parts["body"])] > 0).sum())
    return entry


def annotations(scenes: Iterable[tuple[int, str, Scene]]) -> dict[str, Any]:
    """Return a COCO-WholeBody document for (image id, file name, scene) triples."""
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    for image_id, file_name, scene in scenes:
        images.append({"id": image_id, "file_name": file_name, "width": scene.size[0], "height": scene.size[1]})
        for person in scene.people:
            people.append(annotation(person, image_id, len(people) + 1))
    return {
        "info": {"description": "Rendered people with exact keypoints", "version": "1.0"},
        "images": images,
        "annotations": people,
        "categories": [
            {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(_SET.names[:17]), "skeleton": []}
        ],
    }


def _triples(points: NDArray[np.float64], visible: NDArray[np.int64]) -> list[float]:
    rows = np.column_stack((np.round(points, 3), visible))
    rows[visible == 0] = 0
    return [float(value) for value in rows.ravel()]


def _xywh(low: NDArray[np.float64], high: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 3) for value in (*low, *(high - low))]
