import copy

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="needs pycocotools")

from cigpose_client import Poses
from pycocotools.cocoeval import COCOeval

from synthetic.annotations import annotated_visibility, annotations
from synthetic.evaluation import PARTS, Prediction, evaluate, instance_scores
from synthetic.gate import measure
from synthetic.photos import object_keypoint_similarity
from synthetic.scene import render_scene

SEEDS = range(6_000, 6_012)


@pytest.fixture(scope="module")
def truth():
    scenes = [(seed, f"{seed}.jpg", render_scene(seed)) for seed in SEEDS]
    return scenes, annotations(scenes)


def _pose(person, shift: float):
    """The annotated points, moved; the others, which no network could know, in the middle of the box."""
    middle = (person.bbox_xyxy[:2] + person.bbox_xyxy[2:]) / 2
    known = annotated_visibility(person)[:, None] > 0
    return np.where(known, person.points + shift * np.sqrt(person.area), middle)


def predictions(scenes, shift: float = 0.0):
    rows = []
    for seed, _, scene in scenes:
        count = len(scene.people)
        keypoints = np.array([_pose(person, shift) for person in scene.people], np.float32).reshape(count, 133, 2)
        rows.append(Prediction(seed, np.ones(count, np.float32), keypoints, np.ones((count, 133), np.float32)))
    return rows


def test_perfect_predictions_score_one(truth) -> None:
    scenes, document = truth
    table = evaluate(document, predictions(scenes))
    assert {part: table[part] for part in PARTS} == pytest.approx(dict.fromkeys(PARTS, 1.0))


def test_shifted_predictions_score_less_and_precise_parts_suffer_first(truth) -> None:
    scenes, document = truth
    table = evaluate(document, predictions(scenes, shift=0.03))
    assert table["face"] < table["body"] < 1.0
    assert table["whole"] < 0.9


def test_nothing_found_scores_zero(truth) -> None:
    _, document = truth
    assert evaluate(document, [])["body"] == 0.0


def test_parts_flagged_invalid_are_ignored(truth) -> None:
    scenes, document = truth
    changed = copy.deepcopy(document)
    for entry in changed["annotations"]:
        entry["face_valid"] = False
    assert evaluate(changed, predictions(scenes))["face"] == 0.0  # nothing is left to find


def test_duplicates_do_not_count_as_false_positives(truth) -> None:
    scenes, document = truth
    doubled = [
        Prediction(
            p.image_id, np.tile(p.bbox_scores, 2), np.tile(p.keypoints, (2, 1, 1)), np.tile(p.keypoint_scores, (2, 1))
        )
        for p in predictions(scenes)
    ]
    assert evaluate(document, doubled)["whole"] == pytest.approx(1.0)


def test_instance_score_is_box_score_times_mean_of_clear_points() -> None:
    scores = np.full((2, 133), 0.1, np.float32)
    scores[0, :2] = 0.6, 0.4
    np.testing.assert_allclose(instance_scores(np.array((0.8, 0.9), np.float32), scores), (0.4, 0.0))


def test_gate_measures_any_callable_and_saves_the_worst(tmp_path) -> None:
    by_bytes = {scene.jpeg: scene for scene in map(render_scene, SEEDS)}

    def oracle(picture: bytes) -> Poses:
        people = by_bytes[picture].people[::-1][:3]  # misses those beyond three
        count = len(people)
        boxes = np.array([person.bbox_xyxy for person in people], np.float32).reshape(count, 4)
        points = np.array([person.points for person in people], np.float32).reshape(count, 133, 2)
        return Poses(boxes, np.ones(count, np.float32), count, points, np.ones((count, 133), np.float32))

    result = measure(oracle, SEEDS, tmp_path)
    assert result.people == sum(len(scene.people) for scene in by_bytes.values()) > result.found
    assert result.mean_error < 1e-3 and 0 < result.average_precision["body"] < 1
    assert result.cases[0].found is None
    assert (tmp_path / "histogram.png").exists() and len(list(tmp_path.glob("worst-*.jpg"))) == 20


def test_similarity_of_photos_equals_pycocotools() -> None:
    rng = np.random.default_rng(0)
    truth = np.column_stack((rng.uniform(0, 100, (17, 2)), rng.integers(0, 3, 17)))
    person = {"keypoints": truth.ravel().tolist(), "area": 3000.0, "num_keypoints": int((truth[:, 2] > 0).sum())}
    found = (truth[:, :2] + rng.normal(0, 3, (17, 2))).astype(np.float32)
    run = COCOeval(iouType="keypoints")
    run._gts[1, 1] = [person | {"bbox": [0, 0, 100, 100], "ignore": 0, "iscrowd": 0}]
    run._dts[1, 1] = [{"keypoints": np.column_stack((found, np.ones(17))).ravel().tolist(), "score": 1.0}]
    assert object_keypoint_similarity(found, person) == pytest.approx(run.computeOks(1, 1).item(), abs=1e-6)
