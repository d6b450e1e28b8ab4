"""Top-down or bottom-up: the crossing, the chart, and the number of people that a biased network finds."""

import json

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from benchmarks import kinds  # noqa: E402
from export.families.hrnet.variants import Hrnet  # noqa: E402
from export.families.logocap.export import export_onnx  # noqa: E402
from export.families.logocap.network import build  # noqa: E402
from export.families.logocap.variants import Variant  # noqa: E402
from tests.networks import save_detector, save_pose_network  # noqa: E402
from tests.pictures import encode, noise_picture  # noqa: E402

pytestmark = pytest.mark.torch


def rows(*pairs):
    return [{"people": count, "top-down": count * 10.0, "bottom-up": cost} for count, cost in pairs]


def test_the_lines_cross_between_two_measurements():
    assert kinds.crossing(rows((0, 30.0), (2, 30.0), (4, 30.0), (8, 30.0))) == 3.0
    assert kinds.crossing(rows((1, 300.0), (30, 301.0))) is None
    assert kinds.crossing(rows((4, 30.0), (8, 30.0))) == 4.0


def test_the_command_measures_each_number_of_people(tmp_path, capsys):
    torch.manual_seed(0)
    architecture = Hrnet(4, (1, 1, 1), blocks=1, stem=8, bottlenecks=1)
    network = build(Variant("tiny", architecture, 64, 8, 4, (12, 8, 8), reach=12, spread=4.0))
    export_onnx(network, tmp_path / "tiny.onnx")
    (tmp_path / "a.png").write_bytes(encode(noise_picture()))
    files = ["--pose", save_pose_network(tmp_path / "s.onnx"), "--detector", save_detector(tmp_path / "d.onnx")]
    files += ["--bottom-up", tmp_path / "tiny.onnx", "--pictures", tmp_path / "a.png"]
    output, chart = tmp_path / "kinds.json", tmp_path / "kinds.svg"
    more = ["--counts", "0", "1", "5", "--rounds", "1", "--output", output]
    more += ["--chart", chart] if pytest.importorskip("matplotlib") else []
    assert kinds.main([*map(str, [*files, *more])]) == 0
    result = json.loads(output.read_text())
    assert [row["people"] for row in result["rows"]] == [0, 1, 5]
    assert all(row["top-down"] > 0 and row["bottom-up"] > 0 for row in result["rows"])
    assert "the lines cross at" in capsys.readouterr().out
    assert chart.read_text().startswith("<svg")
