import json
from pathlib import Path

from tests.deploy.rollout import Result, misses

_RECORDED = Path(__file__).parent / "results" / "rollout.json"
_ABRUPT = "client round_robin, abrupt SIGTERM"


def result(path="edge proxy, drained", calls=1000, failed=0, balance=1.1):
    return Result(path, calls, failed, 0, balance, {})


def test_a_good_run_meets_every_goal():
    assert list(misses([result(), result(_ABRUPT, failed=4)])) == []


def test_every_goal_can_be_missed():
    assert "1 of 1000" in next(misses([result(failed=1)]))
    assert "5 of 900" in next(misses([result(_ABRUPT, calls=900, failed=5)]))
    assert "1.4 times" in next(misses([result(balance=1.4)]))
    assert "1.2 times" in next(misses([result(_ABRUPT, balance=1.2)]))
    assert "prove nothing" in next(misses([result(calls=9)]))


def test_the_recorded_runs_meet_every_goal():
    runs = [Result(**run) for run in json.loads(_RECORDED.read_text(encoding="utf-8"))]
    assert [run.path for run in runs].count("edge proxy, drained") >= 5
    assert _ABRUPT in [run.path for run in runs]
    assert list(misses(runs)) == []
