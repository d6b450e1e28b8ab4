"""Measurements run against a real server and write results that the report can tell; their numbers say nothing."""

import json

import pytest

from benchmarks import capacity, stages, sweep
from tests.networks import save_detector, save_pose_network
from tests.pictures import encode, picture_with_persons

pytestmark = pytest.mark.server

_TOLD = {
    stages: (["--callers", "4", "--requests", "16"], ["pose network", "hops and copies"]),
    sweep: (["--people", "1", "3", "--callers", "1", "4", "--crops", "12", "--requests", "8"], ["people", "callers"]),
}


@pytest.fixture(scope="module")
def subject(tritonserver, tmp_path_factory):
    folder = tmp_path_factory.mktemp("subject")
    pictures = [folder / f"{count}.png" for count in (1, 2)]
    for count, path in enumerate(pictures, start=1):
        path.write_bytes(encode(picture_with_persons([(10 * it + 5, 5) for it in range(count)])))
    pose, detector = save_pose_network(folder / "spots.onnx"), save_detector(folder / "red_cells.onnx")
    return ["--pose", str(pose), "--detector", str(detector), "--pictures", *map(str, pictures)]


@pytest.mark.parametrize("command", [stages, pytest.param(sweep, marks=pytest.mark.slow)])
def test_a_measurement_writes_its_result(command, subject, tmp_path, capsys):
    arguments, told = _TOLD[command]
    output = tmp_path / "result.json"
    assert command.main([*subject, *arguments, "--output", str(output)]) == 0
    result = json.loads(output.read_text())
    assert {"commit", "date", "processor", "cores", "packages"} <= result["machine"].keys()
    assert result["profile"] == "cpu"
    assert result["pose"] == "spots.onnx"
    printed = capsys.readouterr().out
    for word in told:
        assert word in printed


@pytest.mark.slow
def test_capacity_is_checked_against_an_open_loop(subject, tmp_path):
    output = tmp_path / "capacity.json"
    capacity.main([*subject, "--check", "--seconds", "1", "--output", str(output)])
    points = json.loads(output.read_text())["points"]
    assert [point["load"] for point in points] == [0.2, 0.4, 0.6, 0.8]
    assert all(point["requests"] and point["p95_ms"] > 0 for point in points)
