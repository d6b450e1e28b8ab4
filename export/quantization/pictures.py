"""The caller's pictures, and what COCO's annotations say about them."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cigpose_client.evaluation import FIELDS, Dataset, load_dataset
from numpy.typing import NDArray

from ensemble.steps import Arrays
from export.quantization.trial import Trial

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


@dataclass(frozen=True)
class Pictures:
    """The caller's pictures.

    Attributes:
        paths: the files, by name.
        boxes: file name -> (N, 4) given boxes, xyxy.
        ids: file name -> id in `truth`.
        truth: the annotations, if they hold keypoints of the network's set.
    """

    paths: Sequence[Path]
    boxes: Mapping[str, NDArray[np.float32]]
    ids: Mapping[str, Any]
    truth: Dataset | None

    def samples(self, trial: Trial, paths: Sequence[Path]) -> list[Arrays]:
        """Return `Trial.sample` of some of the pictures.

        Raises:
            ValueError: see there; the message begins with the picture's path.
        """
        return [_sample(trial, path, self.boxes.get(path.name)) for path in paths]


def _sample(trial: Trial, path: Path, boxes: NDArray[np.float32] | None) -> Arrays:
    try:
        return trial.sample(path.read_bytes(), boxes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_pictures(folder: Path, boxes: Path | None, trial: Trial) -> Pictures:
    """Return the pictures of a folder that the trial can use.

    Args:
        folder: the folder.
        boxes: annotations in COCO's format; names of their pictures may have a folder, which does not count.
        trial: the network, which may take given boxes.

    Raises:
        ValueError: there are fewer than two pictures, or the annotations are wrong; the message names the first.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    if boxes is None:
        return Pictures(_enough(paths, folder), {}, {}, None)
    dataset = load_dataset(str(boxes))
    ids = _ids(dataset, boxes, {path.name for path in paths})
    given = _boxes(dataset, boxes, ids)
    annotated = [path for path in paths if path.name in (given if trial.given_boxes else ids)]
    points = {"coco_wholebody": 17, "coco": 17, "crowdpose": 14}.get(trial.keypoint_set, 0)
    whole = trial.keypoint_set != "coco_wholebody" or dataset.has(FIELDS["foot"], 6)
    has_truth = bool(points) and whole and dataset.has(FIELDS["body"], points)
    which = f" with {'boxes of people' if trial.given_boxes else 'an entry'} in {boxes}"
    return Pictures(_enough(annotated, folder, which), given, ids, dataset if has_truth else None)


def _ids(dataset: Dataset, source: Path, names: Set[str]) -> dict[str, Any]:
    """Return file name, without its folder -> id in the annotations."""
    ids: dict[str, Any] = {}
    for image in dataset.images:
        name, image_id = Path(image["file_name"]).name, image["id"]
        if name in names and ids.setdefault(name, image_id) != image_id:
            raise ValueError(f"{source}: {name} is the picture of ids {ids[name]} and {image_id}; keep one of them")
    return ids


def _boxes(dataset: Dataset, source: Path, ids: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    """Return file name -> (N, 4) boxes of its people, xyxy; a crowd's box is no person's."""
    names = {image_id: name for name, image_id in ids.items()}
    people: dict[str, list[list[float]]] = {}
    for person in dataset.people:
        x, y, width, height = person["bbox"]
        if person.get("iscrowd") or person["image_id"] not in names:
            continue
        if min(width, height) < 0 or max(width, height) == 0:
            raise ValueError(
                f"{source}: bbox {person['bbox']} (x, y, width, height) of annotation {person.get('id')} is empty; "
                "correct or remove the annotation"
            )
        people.setdefault(names[person["image_id"]], []).append([x, y, x + width, y + height])
    return {name: np.array(boxes, np.float32) for name, boxes in people.items()}


def _enough(paths: list[Path], folder: Path, which: str = "") -> list[Path]:
    if len(paths) < 2:
        needed = "two at least are needed, and a hundred are better"
        raise ValueError(f"{folder} holds {len(paths)} pictures{which}; {needed}")
    return paths
