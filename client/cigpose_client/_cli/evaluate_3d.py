"""`evaluate` on annotations of joints in space: the annotated boxes through the server, errors in millimetres."""

import argparse
import functools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cigpose_client._cli.files import UsageError
from cigpose_client._cli.progress import Progress
from cigpose_client._cli.run import running
from cigpose_client._client import PoseClient
from cigpose_client._poses import Poses
from cigpose_client.evaluation.dataset import Dataset, Entry, excerpt, fields_of
from cigpose_client.evaluation.joints_3d import Joints, Sample, evaluate_3d

Errors: TypeAlias = dict[str, dict[str, float]]
FIELD = "keypoints_3d"
_COLUMNS = ("MPJPE", "P-MPJPE", "MPJVE")


def is_3d(dataset: Dataset) -> bool:
    """Return whether the annotations hold joints in space."""
    return any(FIELD in person for person in dataset.people)


def ask_3d(args: argparse.Namespace, dataset: Dataset) -> Errors | None:
    """Return the errors by action, in mm; None after Ctrl-C.

    Raises:
        UsageError: an option is for 2-D keypoints.
        ValueError: an annotation has another form, or the model answers no joints in space.
    """
    if args.boxes not in (None, "gt") or args.results or args.save_results:
        text = "joints in space are compared person by person; leave out --boxes, --results and --save-results"
        raise UsageError(text)
    people: dict[Any, list[Entry]] = defaultdict(list)
    for person in dataset.people:
        if FIELD in person:
            people[person["image_id"]].append(fields_of(person, "bbox"))
    images = [image for image in dataset.images if image["id"] in people]
    progress, samples = Progress("pictures", len(images)), list[Sample]()
    with running(args, progress) as run:
        work = functools.partial(_estimate, run.client, Path(args.images), people)
        for image, poses in run.answers(work, images, lambda image: str(image["file_name"])):
            assert isinstance(poses, Poses)  # for the type checker: the run does not go on after failures
            samples += _samples(image, people[image["id"]], poses)
            progress.answer(len(poses))
    return None if run.interrupted else evaluate_3d(samples)


def table_3d(errors: Errors) -> Iterator[str]:
    """Yield the lines of a table in millimetres."""
    columns = [name for name in _COLUMNS if any(name in row for row in errors.values())]
    width = max(map(len, ("action", *errors))) + 2
    yield "action".ljust(width) + "".join(f"{name} mm".rjust(12) for name in columns)
    for action, row in errors.items():
        cells = [f"{row[name]:.1f}" if name in row else "-" for name in columns]
        yield action.ljust(width) + "".join(cell.rjust(12) for cell in cells)


def _estimate(client: PoseClient, folder: Path, people: dict[Any, list[Entry]], image: Entry) -> Poses:
    boxes = np.array([person["bbox"] for person in people[image["id"]]], np.float32)
    boxes[:, 2:] += boxes[:, :2]
    poses = client.estimate_boxes(folder / image["file_name"], boxes)
    if poses.keypoints_3d is None:
        raise ValueError(f"{client.ensemble} answers no keypoints_3d; choose a network that lifts, such as pose_3d")
    return poses


def _samples(image: Entry, people: list[Entry], poses: Poses) -> Iterator[Sample]:
    assert poses.keypoints_3d is not None  # for the type checker: see `_estimate`
    sequence = image.get("sequence")
    for row, (person, predicted) in enumerate(zip(people, poses.keypoints_3d, strict=True)):
        track = None if sequence is None else (sequence, row)
        yield Sample(predicted.astype(np.float64), _truth(person), str(image.get("action", "all")), track)


def _truth(person: Entry) -> Joints:
    """Return the annotated joints (17, 3), relative to the root, which is the first one.

    Raises:
        ValueError: the annotation has another form.
    """
    try:
        joints = np.array(person[FIELD], np.float64)
    except (TypeError, ValueError):
        joints = np.empty(0)
    if joints.shape != (17, 3) or not np.isfinite(joints).all():
        raise ValueError(f"{FIELD} must be 17 times [x, y, z] in metres, found {excerpt(person[FIELD])}")
    return joints - joints[:1]
