"""The evaluator on the annotations of real photos."""

import pytest
from cigpose_client import keypoint_sets
from cigpose_client.evaluation import FIELDS, evaluate, load_dataset

pytest.importorskip("pycocotools")


def test_the_truth_as_prediction_is_perfect(shared):
    data = load_dataset(str(shared / "data" / "coco_sample" / "test_coco_wholebody.json"))
    keep = ("image_id", "category_id", *FIELDS.values())
    results = [{"score": 0.9, **{name: person[name] for name in keep}} for person in data.people]
    metrics = evaluate(data, results, keypoint_sets()["coco_wholebody"])
    assert [row["AP"] for row in metrics.values()] == pytest.approx([1.0] * len(metrics))
