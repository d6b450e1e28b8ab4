"""The gate measures any function from picture to people; here one that returns the truth."""

import json
from dataclasses import fields

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="needs pycocotools")

from cigpose_client import Poses

from synthetic.annotations import annotated_visibility
from synthetic.gate import PARTS, matches, measure, save_histogram
from synthetic.scene import render_scene

SEEDS = range(6_000, 6_012)
SCENES = {scene.jpeg: scene for scene in map(render_scene, SEEDS)}


def oracle(picture: bytes, shift: float = 0.0) -> Poses:
    """Every person; unannotated keypoints are in the middle of the box."""
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
    """Parts that are not annotated may score less: COCO ignores one answer near each such person, and in a crowd this
    may be another person's answer, so that this person's own counts as wrong."""
    result = measure(answer, SEEDS)
    precision = result.average_precision
    assert [precision[part] for part in ("body", "foot", "whole")] == pytest.approx([1.0] * 3)
    assert min(precision[part] for part in ("face", "hand")) > 0.85
    assert result.found == result.people == sum(len(scene.people) for scene in SCENES.values())
    assert result.mean_error < 1e-3


def test_networks_of_cocos_keypoints_are_measured_by_the_body() -> None:
    def body(picture: bytes) -> Poses:
        whole = oracle(picture, shift=0.01)
        kept = whole.keypoints[:, :17], whole.keypoint_scores[:, :17]
        return Poses(whole.bboxes, whole.bbox_scores, len(whole.bboxes), *kept)

    result, whole = measure(body, SEEDS), measure(lambda picture: oracle(picture, shift=0.01), SEEDS)
    assert result.average_precision == pytest.approx({"body": whole.average_precision["body"]}, abs=1e-6)
    assert result.histogram.tolist() == whole.histogram[:17].tolist()


def test_shifted_keypoints_score_less_and_precise_parts_suffer_first() -> None:
    precision = measure(lambda picture: oracle(picture, shift=0.03), SEEDS).average_precision
    assert precision["face"] < precision["body"] < 1.0
    assert precision["whole"] < 0.9


def test_nothing_found_scores_zero() -> None:
    result = measure(lambda picture: oracle(picture).take([]), SEEDS)
    assert result.average_precision == dict.fromkeys(PARTS, 0.0)
    assert (result.found, result.mean_error) == (0, 0.0)


def test_missed_people_cost_precision() -> None:
    result = measure(lambda picture: oracle(picture).take(range(len(SCENES[picture].people))[:3]), SEEDS)
    assert result.found < result.people
    assert 0 < result.average_precision["body"] < 1


def test_the_histogram_counts_every_annotated_keypoint_by_its_error(tmp_path) -> None:
    result = measure(lambda picture: oracle(picture, shift=0.05), SEEDS)  # in x and y: 0.0707 in all
    save_histogram(result.histogram, tmp_path)
    written = json.loads((tmp_path / "histogram.json").read_text())
    counts = np.array(list(written["points"].values()))
    annotated = sum(
        int((annotated_visibility(person) > 0).sum()) for scene in SCENES.values() for person in scene.people
    )
    assert counts.sum() == counts[:, written["edges"].index(0.05)].sum() == annotated


def test_each_box_is_matched_once_and_only_above_half_overlap() -> None:
    person = next(scene.people[0] for scene in SCENES.values() if scene.people)
    box, points = person.bbox_xyxy, np.zeros((133, 2))
    assert len(matches([person, person], box[None], [points])) == 1
    assert matches([person], (box + (box[2] - box[0]))[None], [points]) == []
