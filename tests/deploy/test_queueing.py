import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.threshold import waiting_ms
from tests.deploy import queueing, stages

_RECORDED = Path(__file__).parent / "results" / "queueing.json"
GOOD = queueing.Point(25, 20, 0.5, 10, 10, 1)


def test_a_point_compares_the_formula_with_the_counters():
    before = {"requests": 10.0, "queue_us": 0.0, "compute_us": 0.0}
    after = {"requests": 110.0, "queue_us": 500_000.0, "compute_us": 2_000_000.0}
    found = queueing.point(before, after, 4.0, 1.5)
    assert (found.arrivals_per_s, found.service_ms, found.load, found.queue_ms) == (25, 20, 0.5, 5)
    assert (found.formula_ms, found.late_ms) == (10, 1.5)
    assert found.error == 1


def misses(*points):
    return list(queueing.misses({"good": [GOOD] * 3, "net": points}))


def test_points_at_high_load_or_sent_late_do_not_count():
    assert misses(GOOD, GOOD, GOOD, queueing.Point(25, 20, 0.9, 10, 99, 1)) == []
    assert misses(GOOD, GOOD, GOOD, queueing.Point(25, 20, 0.5, 10, 5, 1)) == [
        "net: at a load of 0.5 the formula is off by 50%"
    ]
    for useless in (queueing.Point(25, 20, 0.9, 10, 10, 1), queueing.Point(25, 20, 0.5, 10, 10, 4)):
        (too_few,) = misses(GOOD, GOOD, useless)
        assert too_few.startswith("net: 2 points") and "prove nothing" in too_few


@pytest.mark.parametrize("load", [0.2, 0.75])
def test_arrivals_have_the_mean_wait_of_the_formula(load):
    arrivals = queueing.typical_arrivals(load, 20, 400)
    free_at, waits = 0.0, []
    for arrival in arrivals:
        waits.append(max(0.0, free_at - arrival))
        free_at = arrival + waits[-1] + 0.02
    assert np.mean(waits) * 1e3 == pytest.approx(waiting_ms(20, load), rel=0.05)
    assert np.diff(arrivals).std() == pytest.approx(np.diff(arrivals).mean(), rel=0.2), "exponential, not regular"


def test_the_recorded_check_passes_at_every_stage():
    recorded = json.loads(_RECORDED.read_text(encoding="utf-8"))
    found = {name: [queueing.Point(**seen) for seen in points] for name, points in recorded["stages"].items()}
    assert len(found) == 5
    assert list(queueing.misses(found)) == []


@pytest.mark.server
def test_every_stage_is_measured_at_every_load(repository, tritonserver, tmp_path):
    """The accuracy is not checked: a few arrivals on a busy machine do not show it."""
    output = tmp_path / "queueing.json"
    queueing.main([f"--repository={repository}", "--arrivals=20", f"--output={output}"])
    measured = json.loads(output.read_text(encoding="utf-8"))
    models = {path.parent.name for path in repository.glob("*/config.pbtxt") if not path.parent.name.startswith("pose")}
    assert set(measured["stages"]) == models - set(stages.LEFT_OUT)
    for points in measured["stages"].values():
        assert [point["arrivals_per_s"] > 0 and point["service_ms"] > 0 for point in points] == [True] * 4


def test_a_simplified_stage_has_one_instance_and_no_batching(repository, tmp_path):
    configs = stages.simplify(repository, tmp_path / "models")
    assert {group.count for config in configs.values() for group in config.instance_group} == {1}
    assert not any(config.HasField("dynamic_batching") for config in configs.values())
    with pytest.raises(ValueError, match="it has 2"):
        stages.requests({**configs, "another": configs["spots"]})
