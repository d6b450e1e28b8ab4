import json

import pytest

pytest.importorskip("matplotlib", reason="charts need it (requirements/bench.txt)")

from benchmarks import goals, results
from benchmarks.everything import plan
from benchmarks.report import TABLES, as_page, main

MACHINE = {
    "commit": "abc",
    "date": "2026-01-01T00:00:00+00:00",
    "processor": "some processor",
    "cores": 2,
    "gpus": [],
    "load_before": 0.1,
    "packages": {"numpy": "1.26.4"},
}
CONTENDER = {
    **{"callers": 16, "pictures_per_s": 20.0, "people_per_s": 50.0, "people": 2.5},
    **{"p50_ms": 700.0, "p99_ms": 900.0, "share_of_floor": 0.9},
}
CONTENDERS = {"usual loop": {**CONTENDER, "callers": 1, "pictures_per_s": 10.0}, "cpu, 16 callers": CONTENDER}
COMPARE = {"machine": MACHINE, "profile": "cpu:16", "pose": "p.onnx", "contenders": CONTENDERS}
LOAD = {
    **{"machine": MACHINE, "profile": "cpu", "scenario": "spike", "about": "a spike", "requests": 6, "verdict": []},
    **{"p50_ms": 10.0, "p95_ms": 20.0, "p99_ms": 30.0, "refused_share": 0.0, "failed_share": 0.0},
    **{"recovered_times": None, "stages": {"net": {"queue_ms": 1.0, "compute_ms": 2.0}}},
}


def test_the_page_holds_every_result_with_its_machine():
    page = as_page({"compare": COMPARE, "load-spike": LOAD, "other": {}}, [goals.Verdict("fast", ">= 2", 2.5, True)])
    for told in ("## compare", "## load-spike", "a spike", "some processor", "commit abc", "| met |", "| 2.00 |"):
        assert told in page
    assert "other" not in page


def test_the_recorded_results_make_a_page():
    found = results.read(results.FOLDER)
    page = as_page(found, goals.verdicts(results.FOLDER))
    assert all(f"## {name}" in page for name in found)


def test_the_chart_is_written_where_it_is_asked_for(tmp_path):
    (tmp_path / "compare.json").write_text(json.dumps(COMPARE))
    assert main(["--results", str(tmp_path), "--chart", str(tmp_path / "chart.svg")]) == 0
    assert (tmp_path / "chart.svg").read_text().startswith("<svg")
    assert "cpu, 16 callers" in (tmp_path / "chart.svg").read_text()
    assert (tmp_path / "report.md").exists()


def test_every_measurement_of_the_plan_has_a_table(tmp_path):
    names = {line[0].replace("-", "_") for line in plan("cpu", tmp_path, quick=False)} - {"report"}
    assert names <= TABLES.keys()
