import json

import pytest

pytest.importorskip("matplotlib", reason="charts need it (requirements/bench.txt)")

from benchmarks.chart import main

CONTENDER = {
    **{"callers": 16, "pictures_per_s": 20.0, "people": 2.5},
    **{"p50_ms": 700.0, "p99_ms": 900.0, "share_of_floor": 0.9},
}
CONTENDERS = {
    "usual loop": {**CONTENDER, "callers": 1, "pictures_per_s": 10.0},
    "cpu, 16 callers": CONTENDER,
    "one caller": {**CONTENDER, "callers": 1},
}


def test_the_chart_shows_every_saturated_contender(tmp_path):
    (tmp_path / "compare.json").write_text(json.dumps({"contenders": CONTENDERS}))
    chart = tmp_path / "chart.svg"
    assert main(["--comparison", str(tmp_path / "compare.json"), "--output", str(chart)]) == 0
    text = chart.read_text()
    assert text.startswith("<svg")
    assert "usual loop" in text and "cpu, 16 callers" in text and "one caller" not in text
