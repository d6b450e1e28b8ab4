"""Average precision and recall by pycocotools, in the protocols of COCO, COCO-WholeBody and CrowdPose."""

import contextlib
import io
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from cigpose_client._coco import FIELDS, PERSON
from cigpose_client._extras import pycocotools
from cigpose_client._keypoints import KeypointSet
from cigpose_client.evaluation.dataset import Dataset, Entry, visible

Metrics: TypeAlias = dict[str, dict[str, float]]
"""Part, or difficulty -> name of the metric -> value, 0 to 1; -1 where there is nothing to find."""

_NAMES = ("AP", "AP50", "AP75", "APM", "APL", "AR")  # the first six of COCO's ten
_NAMES_OF_PARTS = ("AP", "AP50", "AP75", "AR")
_HAND = ("left_hand", "right_hand")
_BOX_TO_AREA = 0.53  # CrowdPose has no segmented areas: Source: xtcocotools, COCOeval with use_area=False
# crowdIndex from .. up to. The paper's easy ends at 0.1, but the published numbers come from xtcocotools: there at 0.2
_CROWDS = {"easy": (0.0, 0.2), "medium": (0.2, 0.8), "hard": (0.8, np.inf)}


def evaluate(dataset: Dataset, results: list[Entry], known: KeypointSet) -> Metrics:
    """Compare results with the annotations.

    Args:
        dataset: pictures and people.
        results: entries as `Poses.to_coco` makes them.
        known: the keypoint set of the results.

    Returns:
        for `coco`: `body`; for `coco_wholebody`: `body`, `foot`, `face`, both hands, `hand` (their mean) and `whole`;
        for `crowdpose`: `all` and, if every picture has a `crowdIndex`, `easy`, `medium`, `hard`.

    Raises:
        ValueError: the annotations are of another keypoint set, or a person's number of keypoints is another.
    """
    if known.name == "coco_wholebody" and dataset.has(FIELDS["foot"], 6):
        return _whole_body(dataset, results, known)
    if not dataset.has("keypoints", 17 if known.name == "coco_wholebody" else len(known)):
        raise ValueError(f"the annotations hold no keypoints of the set {known.name}")
    if known.name == "crowdpose":
        return _crowd(dataset, results, known)
    body = known.parts["body"]
    return {"body": _stats(dataset, results, _field("keypoints", *body), known.sigmas[slice(*body)], _NAMES)}


def _whole_body(dataset: Dataset, results: list[Entry], known: KeypointSet) -> Metrics:
    metrics = {
        part: _stats(dataset, results, _field(FIELDS[part], *rows), known.sigmas[slice(*rows)], _NAMES_OF_PARTS)
        for part, rows in known.parts.items()
    }
    metrics["hand"] = {name: float(np.mean([metrics[hand][name] for hand in _HAND])) for name in _NAMES_OF_PARTS}
    fields = [_field(FIELDS[part], *rows) for part, rows in known.parts.items()]
    metrics["whole"] = _stats(dataset, results, _joined(fields), known.sigmas, _NAMES_OF_PARTS)
    return metrics


def _crowd(dataset: Dataset, results: list[Entry], known: KeypointSet) -> Metrics:
    people = [person | {"area": _BOX_TO_AREA * person["bbox"][2] * person["bbox"][3]} for person in dataset.people]
    dataset = Dataset(dataset.images, people)
    points = _field("keypoints", 0, len(known))
    whole = {"all": _stats(dataset, results, points, known.sigmas, _NAMES_OF_PARTS)}
    if not all(isinstance(image.get("crowdIndex"), int | float) for image in dataset.images):
        return whole
    ids = {
        name: [image["id"] for image in dataset.images if low <= image["crowdIndex"] < high]
        for name, (low, high) in _CROWDS.items()
    }
    return whole | {
        name: _stats(dataset, results, points, known.sigmas, ("AP",), of_images) for name, of_images in ids.items()
    }


def _field(name: str, first: int, end: int) -> Callable[[Entry], list[float]]:
    """Return a function that takes the keypoints of a field from an entry; without the field, none is labelled."""
    return lambda entry: list(entry.get(name, [0] * 3 * (end - first)))


def _joined(fields: list[Callable[[Entry], list[float]]]) -> Callable[[Entry], list[float]]:
    return lambda entry: [number for field in fields for number in field(entry)]


def _stats(
    dataset: Dataset,
    results: list[Entry],
    points: Callable[[Entry], list[float]],
    sigmas: Sequence[float],
    names: tuple[str, ...],
    images: list[Any] | None = None,
) -> dict[str, float]:
    """Return the metrics `names` of the keypoints that `points` takes from an entry, over `images` (None for all)."""
    coco, cocoeval = pycocotools()
    found = [_result(entry, points(entry)) for entry in results]
    found = [entry for entry in found if visible(entry["keypoints"])]  # as xtcocotools does
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools talks
        truth = coco.COCO()
        truth.dataset = _truth(dataset, points, len(sigmas))
        truth.createIndex()
        run = cocoeval.COCOeval(truth, truth.loadRes(found) if found else coco.COCO(), "keypoints")
        run.params.kpt_oks_sigmas = np.asarray(sigmas)
        run.params.imgIds = sorted(image["id"] for image in dataset.images) if images is None else sorted(images)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return {name: float(run.stats[_NAMES.index(name)]) for name in names}


def _truth(dataset: Dataset, points: Callable[[Entry], list[float]], count: int) -> dict[str, Any]:
    people = [_person(number, person, points(person), count) for number, person in enumerate(dataset.people, 1)]
    return {"images": dataset.images, "annotations": people, "categories": [{"id": PERSON, "name": "person"}]}


def _person(number: int, person: Entry, keypoints: list[float], count: int) -> Entry:
    width, height = person["bbox"][2:]
    if len(keypoints) != 3 * count:
        raise ValueError(f"annotation {person.get('id')} has {len(keypoints) // 3} keypoints; {count} are expected")
    counted = visible(keypoints)
    if count == 14:  # CrowdPose's own count leaves out hidden points, and its protocol goes by that
        counted = person.get("num_keypoints", counted)
    return {
        "id": number,
        "image_id": person["image_id"],
        "category_id": PERSON,
        "bbox": person["bbox"],
        "area": person.get("area", _BOX_TO_AREA * width * height),
        "iscrowd": person.get("iscrowd", 0),
        "keypoints": keypoints,
        "num_keypoints": counted,
    }


def _result(entry: Entry, keypoints: list[float]) -> Entry:
    return {"image_id": entry["image_id"], "category_id": PERSON, "keypoints": keypoints, "score": entry["score"]}
