"""Measurements run against a real server and write their results. The numbers themselves mean nothing."""

import contextlib
import json

import pytest

from benchmarks import capacity, growth, lifter, memory, revisions, serving, stages
from tests.export.seams.files import save_lifter
from tests.networks import save_detector, save_pose_network
from tests.pictures import encode, picture_with_persons

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def subject(tritonserver, tmp_path_factory):
    folder = tmp_path_factory.mktemp("subject")
    pictures = [folder / f"{count}.png" for count in (1, 2)]
    for count, path in enumerate(pictures, start=1):
        path.write_bytes(encode(picture_with_persons([(10 * place + 5, 5) for place in range(count)])))
    pose, detector = save_pose_network(folder / "spots.onnx"), save_detector(folder / "red_cells.onnx")
    return ["--pose", str(pose), "--detector", str(detector), "--pictures", *map(str, pictures)]


def test_stages_are_measured_written_and_printed(subject, tmp_path, capsys):
    output = tmp_path / "result.json"
    assert stages.main([*subject, "--callers", "4", "--requests", "16", "--output", str(output)]) == 0
    result = json.loads(output.read_text())
    assert {"commit", "date", "processor", "cores", "packages"} <= result["machine"].keys()
    assert (result["profile"], result["pose"]) == ("cpu", "spots.onnx")
    assert result["loads"][stages.ALONE]["stages"].keys() >= {"decode", "crop", stages.NETWORK, "SimCC"}
    printed = capsys.readouterr().out
    assert "pose network" in printed and "hops and copies" in printed


def test_the_cost_of_3d_is_measured_and_written(subject, tmp_path, capsys):
    options = ["--lifter", str(save_lifter(tmp_path / "lift.onnx")), "--rounds", "1", "--requests", "4"]
    assert lifter.main([*subject, *options, "--output", str(tmp_path / "r.json")]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert (result["lifter"], result["batch"]) == ("lift", 8)
    parts = [result[f"{part}_ms_a_person"] for part in ("flat", "lift_inputs", "lifter")]
    assert result["added_share"] == pytest.approx(sum(parts[1:]) / parts[0])
    assert result["share_of_floor"] == pytest.approx(result["server_people_per_s"] / result["floor_people_per_s"])
    assert "share_of_floor" in capsys.readouterr().out


@pytest.mark.slow
def test_capacity_is_checked_against_an_open_loop(subject, tmp_path):
    output = tmp_path / "capacity.json"
    capacity.main([*subject, "--check", "--seconds", "1", "--output", str(output)])
    points = json.loads(output.read_text())["points"]
    assert [point["load"] for point in points] == [0.2, 0.4, 0.6, 0.8]
    assert all(point["requests"] and point["p95_ms"] > 0 for point in points)


def test_the_serving_alone_is_measured_beside_another_checkout(subject, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.revisions.checkout_of", lambda _: contextlib.nullcontext(revisions.CHECKOUT))
    output = tmp_path / "serving.json"
    options = ["--rounds", "1", "--callers", "2", "--requests", "8", "--people", "2", "--against", "HEAD"]
    assert serving.main([*subject, *options, "--output", str(output)]) == 0
    result = json.loads(output.read_text())
    load = result["servers"][serving.HERE]["2 callers"]
    assert load["pictures_per_s"] > 0 and load["cpu_ms_by_model"].keys() >= {"decode_image", "tritonserver", "spots"}
    assert result["share_of_cpu"].keys() == {"2 callers"}
    assert "CPU ms a picture" in capsys.readouterr().out


@pytest.mark.slow
def test_memory_is_measured_by_process(subject, tmp_path):
    output = tmp_path / "memory.json"
    assert memory.main([*subject, "--callers", "2", "--requests", "4", "--output", str(output)]) == 0
    result = json.loads(output.read_text())
    used = result["servers"][serving.HERE]
    assert used["tritonserver"]["own"] > 1 and used["spots"]["own"] > 1
    assert result["pss_mb"][serving.HERE] == pytest.approx(sum(sum(kinds.values()) for kinds in used.values()), abs=1)


@pytest.mark.slow
def test_growth_is_measured_along_every_axis(subject, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    for name, points in {"PEOPLE": (0, 2), "CALLERS": (1, 2), "MEGAPIXELS": (0.3, 1), "NETWORKS": (1, 2)}.items():
        monkeypatch.setattr(growth, name, points)
    output, chart = tmp_path / "growth.json", tmp_path / "growth.svg"
    options = ["--null", "--requests", "4", "--output", str(output), "--chart", str(chart)]
    assert growth.main([*subject, *options]) == 0
    axes = json.loads(output.read_text())["axes"]
    assert {name: [row[name] for row in rows] for name, rows in axes.items()} == {
        **{"people": [0, 2], "callers": [1, 2], "megapixels": [0.3, 1], "networks": [1, 2]},
    }
    assert chart.read_text().startswith("<svg")
