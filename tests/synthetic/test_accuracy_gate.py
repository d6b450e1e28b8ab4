"""The served accuracy on scenes that no training saw must not fall below what is recorded in weights/accuracy.json."""

import json

import pytest

from synthetic.accuracy import RECORD, WAYS, as_table, default_weights, measure_gate, served
from synthetic.gate import PARTS

ALLOWED_LOSS = 0.01


@pytest.mark.server
def test_average_precision_is_the_recorded_one(tritonserver, tmp_path):
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))["cpu"]
    with served(*default_weights(), WAYS["cpu"], tmp_path / "served") as client:
        measured = measure_gate(client, out=tmp_path / "out")
    assert measured["people"] == recorded["people"]
    for part in PARTS:
        assert measured["average_precision"][part] >= recorded["average_precision"][part] - ALLOWED_LOSS, part
    assert (tmp_path / "out" / "histogram.json").is_file()


def test_every_way_that_ships_is_recorded_and_as_good():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert set(record) == set(WAYS)
    for way, row in record.items():
        loss = record["cpu"]["average_precision"]["whole"] - row["average_precision"]["whole"]
        assert loss <= 0.005, way
    assert as_table(record).count("\n") == len(record) + 1
