"""The served accuracy on scenes that no training saw must not fall below what is recorded in weights/accuracy.json."""

import json

import pytest

from demo.accuracy import RECORD, as_table, default_weights, measure_profile
from demo.evaluation import PARTS
from export.repository import build_repository

ALLOWED_LOSS = 0.01


@pytest.mark.server
def test_average_precision_is_the_recorded_one(tritonserver, tmp_path):
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))["cpu"]
    pose, detector = default_weights()
    build_repository([pose], detector, tmp_path / "repository")
    measured = measure_profile(tmp_path / "repository", "cpu", out=tmp_path / "out")
    assert measured["people"] == recorded["people"]
    for part in PARTS:
        assert measured["average_precision"][part] >= recorded["average_precision"][part] - ALLOWED_LOSS, part
    assert (tmp_path / "out" / "histogram.json").is_file()


def test_every_profile_that_ships_is_recorded_and_as_good():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert set(record) >= {"cpu", "cpu-openvino", "cpu-bf16"}
    for profile, row in record.items():
        loss = record["cpu"]["average_precision"]["whole"] - row["average_precision"]["whole"]
        assert loss <= 0.005, profile
    assert as_table(record).count("\n") == len(record) + 1
