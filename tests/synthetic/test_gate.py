"""The gate measures any function from picture to people; here one that knows the truth."""

from dataclasses import fields

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="needs pycocotools")

from cigpose_client import Poses
from pycocotools.cocoeval import COCOeval

from synthetic.annotations import annotated_visibility
from synthetic.gate import PARTS, measure
from synthetic.photos import object_keypoint_similarity
from synthetic.scene import render_scene

SEEDS = range(6_000, 6_012)
SCENES = {scene.jpeg: scene for scene in map(render_scene, SEEDS)}


def oracle(picture: bytes, shift: float = 0.0) -> Poses:
    """Every person; unannotated keypoints, which no network could know, in the middle of the box."""
    people = SCENES[picture].people
    count, boxes = len(people), [person.bbox_xyxy for person in people]
    points = [
        np.where(
            annotated_visibility(person)[:, None] > 0,
            person.points + shift * np.sqrt(person.area),
            (person.bbox_xyxy[:2] + person.bbox_xyxy[2:]) / 2,
        )
        for person in people
    ]
    return Poses(
        np.array(boxes, np.float32).reshape(count, 4),
        np.ones(count, np.float32),
        count,
        np.array(points, np.float32).reshape(count, 133, 2),
        np.ones((count, 133), np.float32),
    )


def twice(poses: Poses) -> Poses:
    arrays = {field.name: getattr(poses, field.name) for field in fields(poses)}
    return Poses(**{
        name: np.concatenate([value, value]) if isinstance(value, np.ndarray) else value
        for name, value in arrays.items()
    })  # fmt: skip


@pytest.mark.parametrize("answer", [oracle, lambda picture: twice(oracle(picture))], ids=["truth", "duplicates"])
def test_the_truth_scores_one_and_duplicates_do_not_count(answer) -> None:
    """Except where parts are not annotated: COCO ignores one answer for each such person, but any answer near it may
    be the one, so in a crowd another counts as wrong."""
    result = measure(answer, SEEDS)
    precision = result.average_precision
    assert [precision[part] for part in ("body", "foot", "whole")] == pytest.approx([1.0] * 3)
    assert min(precision[part] for part in ("face", "hand")) > 0.85
    assert result.found == result.people == sum(len(scene.people) for scene in SCENES.values())
    assert result.mean_error < 1e-3


def test_shifted_keypoints_score_less_and_precise_parts_suffer_first() -> None:
    precision = measure(lambda picture: oracle(picture, shift=0.03), SEEDS).average_precision
    assert precision["face"] < precision["body"] < 1.0
    assert precision["whole"] < 0.9


def test_nothing_found_scores_zero() -> None:
    result = measure(lambda picture: oracle(picture).take([]), SEEDS)
    assert result.average_precision == dict.fromkeys(PARTS, 0.0)
    assert (result.found, result.mean_error) == (0, 0.0)


def test_missed_people_cost_precision_and_are_the_worst_cases(tmp_path) -> None:
    result = measure(lambda picture: oracle(picture).take(range(len(SCENES[picture].people))[:3]), SEEDS, tmp_path)
    assert result.found < result.people
    assert 0 < result.average_precision["body"] < 1
    assert result.cases[0].found is None
    assert (tmp_path / "histogram.json").exists() and len(list((tmp_path / "worst").glob("*.jpg"))) == 20


def test_similarity_of_photos_equals_pycocotools() -> None:
    rng = np.random.default_rng(0)
    truth = np.column_stack((rng.uniform(0, 100, (17, 2)), rng.integers(0, 3, 17)))
    person = {"keypoints": truth.ravel().tolist(), "area": 3000.0, "num_keypoints": int((truth[:, 2] > 0).sum())}
    found = (truth[:, :2] + rng.normal(0, 3, (17, 2))).astype(np.float32)
    run = COCOeval(iouType="keypoints")
    run._gts[1, 1] = [person | {"bbox": [0, 0, 100, 100], "ignore": 0, "iscrowd": 0}]
    run._dts[1, 1] = [{"keypoints": np.column_stack((found, np.ones(17))).ravel().tolist(), "score": 1.0}]
    assert object_keypoint_similarity(found, person) == pytest.approx(run.computeOks(1, 1).item(), abs=1e-6)
