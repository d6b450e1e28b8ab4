import json

import pytest

from benchmarks import goals, results
from benchmarks.__main__ import COMMANDS
from benchmarks.everything import plan
from ensemble.triton.profiles import PROFILES

RECORDED = {"compare": {"a": {"rate": 30.0}, "b": {"rate": 10.0}, "none": {"rate": None}}}


def judged(**goal):
    return goals.judge({"goal": "g", "file": "compare", "value": ["a", "rate"], **goal}, RECORDED)


@pytest.mark.parametrize(
    ("goal", "measured", "met"),
    [
        ({"at_least": 30.0}, 30.0, True),
        ({"at_least": 30.1}, 30.0, False),
        ({"over": ["b", "rate"], "at_least": 2.9, "at_most": 3.0}, 3.0, True),
        ({"over": ["b", "rate"], "at_most": 2.9}, 3.0, False),
        ({"minus": ["b", "rate"], "at_most": 20.0}, 20.0, True),
    ],
)
def test_a_goal_is_met_within_its_limits(goal, measured, met):
    verdict = judged(**goal)
    assert (verdict.measured, verdict.met, verdict.word) == (measured, met, "met" if met else "missed")


@pytest.mark.parametrize(
    "goal", [{"file": "other"}, {"value": ["c", "rate"]}, {"value": ["none", "rate"]}, {"over": ["c", "rate"]}]
)
def test_a_goal_without_a_measurement_is_not_met(goal):
    verdict = judged(**goal, at_least=0)
    assert (verdict.met, verdict.word) == (False, "not measured")


def test_every_goal_is_judged_by_a_file_that_the_plan_writes(tmp_path):
    written = {line[0].replace("-", "_") for line in plan("cpu", tmp_path, quick=False)} | {"accuracy"}
    entries = json.loads(goals._FILE.read_text())
    assert {entry["file"] for entry in entries} <= written
    for entry in entries:
        assert {"at_least", "at_most"} & entry.keys()
    for line in [*plan("cpu", tmp_path, quick=True), *plan("cpu", results.FOLDER, quick=False)]:
        assert line[0] in COMMANDS


def test_every_contender_of_the_goals_is_compared():
    from benchmarks.compare import _CONTENDERS, LOOP, SERVICE

    names = {LOOP, SERVICE} | {"{}, {} callers".format(*each.split(":")) for each in _CONTENDERS}
    for entry in json.loads(goals._FILE.read_text()):
        for path in (entry["value"], entry.get("over", [])):
            assert path[:1] != ["contenders"] or path[1] in names
    assert {each.split(":")[0] for each in _CONTENDERS} <= PROFILES.keys()
