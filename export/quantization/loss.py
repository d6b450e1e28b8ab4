"""The accuracy that another version of a network loses, on sampled pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from cigpose_client import Poses, keypoint_sets
from cigpose_client.evaluation import FIELDS, Dataset, evaluate, keypoint_similarities, without_duplicates
from numpy.typing import NDArray

from ensemble.steps import Arrays
from export.quantization.trial import Run, Trial

_SAME_BOX = 0.5  # IoU
_GROUPS = 10  # of pictures, for the standard error
_BOX_TO_AREA = 0.53  # the area that a person covers of its box. Source: xtcocotools, COCOeval with use_area=False
AP, SIMILARITY = "average precision", "similarity to float32"


@dataclass(frozen=True)
class Loss:
    """The accuracy of float32 and of another version, 0 to 1.

    Attributes:
        measure: name of the measure.
        float32: accuracy of float32.
        other: accuracy of the other version.
        error: standard error of the difference, from the differences of groups of pictures.
    """

    measure: str
    float32: float
    other: float
    error: float = 0.0

    @property
    def lost(self) -> float:
        """The difference."""
        return self.float32 - self.other

    @property
    def bound(self) -> float:
        """The difference and its standard error: what other pictures may lose."""
        return self.lost + self.error

    def __str__(self) -> str:
        """Return one readable line."""
        values = f"{self.measure} {self.float32:.4f} in float32, {self.other:.4f} as served"
        return f"{values}, loss {self.lost:.4f}, standard error {self.error:.4f}"


def loss(
    trial: Trial, samples: Sequence[Arrays], run: Run, ids: Sequence[Any] = (), truth: Dataset | None = None
) -> Loss:
    """Return what another version of a network loses.

    Args:
        trial: the float32 network.
        samples: tensors of pictures, from `Trial.sample`.
        run: the other version.
        ids: the pictures' ids in `truth`.
        truth: annotations with keypoints of the network's set. Without them, the other version's people are compared
            with those of float32: keypoints by their similarity (COCO's OKS), boxes of a detector by their overlap.

    Raises:
        ValueError: see `with_people`.
    """
    measured = with_people(trial, samples, ids, truth)
    order = measured + sorted(set(range(len(samples))) - set(measured))  # every group has its share of people
    answers = [trial.answer(sample, run) for sample in samples]

    def accuracies(rows: Sequence[int]) -> tuple[float, float]:
        if truth is not None:
            chosen = [ids[at] for at in rows]
            of_rows = _with_images(truth, chosen)
            first, second = (
                _average_precision(trial, [each[at] for at in rows], chosen, of_rows) for each in (samples, answers)
            )
            return first, second
        alike = _alike_poses if trial.keypoint_set else _alike_boxes
        return 1.0, float(np.mean([value for at in rows for value in alike(trial, samples[at], answers[at])]))

    groups = min(_GROUPS, len(measured))
    losses = [float32 - other for float32, other in (accuracies(order[at::groups]) for at in range(groups))]
    error = float(np.std(losses, ddof=1)) / groups**0.5 if groups > 1 else 0.0
    return Loss(SIMILARITY if truth is None else AP, *accuracies(range(len(samples))), error)


def with_people(trial: Trial, samples: Sequence[Arrays], ids: Sequence[Any], truth: Dataset | None) -> list[int]:
    """Return the rows of the pictures that show people to measure by. Arguments: see `loss`.

    Raises:
        ValueError: there is none.
    """
    if truth is None:
        rows = [at for at, sample in enumerate(samples) if len(sample["bboxes"])]
    else:
        fields = FIELDS.values() if trial.keypoint_set == "coco_wholebody" else [FIELDS["body"]]
        counts = trial.keypoint_set == "crowdpose"  # its protocol goes by the annotations' own count
        people = (person for person in truth.labelled(*fields) if not counts or person.get("num_keypoints", 1))
        labelled = {person["image_id"] for person in people}
        rows = [at for at, image_id in enumerate(ids) if image_id in labelled]
    if not rows:
        what = "no person is found" if truth is None else "no person but crowds has labelled keypoints"
        raise ValueError(f"{what} on the {len(samples)} pictures that measure the loss; add pictures with people")
    return rows


def _with_images(truth: Dataset, ids: Sequence[Any]) -> Dataset:
    """Return the annotations of these pictures only."""
    kept = set(ids)
    images = [image for image in truth.images if image["id"] in kept]
    return Dataset(images, [person for person in truth.people if person["image_id"] in kept])


def _average_precision(trial: Trial, answers: Sequence[Arrays], ids: Sequence[Any], truth: Dataset) -> float:
    known, results = keypoint_sets()[trial.keypoint_set], list[dict[str, Any]]()
    fields = ("bboxes", "bbox_scores", "keypoints", "keypoint_scores")
    for image_id, answer in zip(ids, answers, strict=True):
        bboxes, scores, keypoints, heights = (np.asarray(answer[name], np.float32) for name in fields)
        poses = Poses(bboxes, scores, len(bboxes), keypoints, heights, trial.keypoint_set, trial.kind)
        results += (poses if trial.given_boxes else without_duplicates(poses)).to_coco(image_id, bbox=False)
    parts = evaluate(truth, results, known)
    return parts.get("whole", parts.get("body", parts.get("all", {})))["AP"]


def _alike_poses(trial: Trial, expected: Arrays, found: Arrays) -> list[float]:
    """Return, for each person of float32, the highest similarity of a person of the other version; 0 without one."""
    boxes = expected["bboxes"]
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) * _BOX_TO_AREA
    sigmas = keypoint_sets()[trial.keypoint_set].sigmas
    others = found["keypoints"]
    if not len(others):
        return [0.0] * len(boxes)
    each = keypoint_similarities(expected["keypoints"][:, None], others[None], areas[:, None], sigmas).mean(axis=-1)
    return [float(value) for value in each.max(axis=1)]


def _alike_boxes(trial: Trial, expected: Arrays, found: Arrays) -> list[float]:
    """Return the overlap of each box of float32 with its best one of the other version, and 0 for superfluous ones."""
    overlaps = _overlaps(expected["bboxes"], found["bboxes"])
    best = overlaps.max(axis=1, initial=0.0)
    superfluous = int((overlaps.max(axis=0, initial=0.0) < _SAME_BOX).sum())
    return [float(value) if value >= _SAME_BOX else 0.0 for value in best] + [0.0] * superfluous


def _overlaps(ones: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the IoU of boxes (N, 4) and (M, 4): (N, M)."""
    top_left = np.maximum(ones[:, None, :2], others[None, :, :2])
    bottom_right = np.minimum(ones[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.clip(bottom_right - top_left, 0, None), axis=2)
    areas = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (ones, others))
    mine, theirs = areas
    return np.asarray(shared / (mine[:, None] + theirs[None] - shared + 1e-9), np.float32)
