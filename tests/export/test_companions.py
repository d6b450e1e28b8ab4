"""Outputs that would overwrite the weights beside an input."""

import numpy as np
import onnx
import pytest

from export.__main__ import main
from tests.export.tfjs.graph_files import save_graph_model
from tests.networks import save_detector, save_heatmap_network


def test_the_weights_of_a_graph_model_are_inputs(tmp_path, capsys):
    path = save_graph_model(tmp_path / "g.json", (1, 4, 4, 3), [], {"w": np.float32([1, 2])})
    weights = path.with_suffix(".bin")
    kept = weights.read_bytes()
    assert main(["onnx", "--checkpoint", str(path), "--output", str(weights)]) == 2
    assert f"{weights} would overwrite the input {weights}; choose another output" in capsys.readouterr().err
    assert weights.read_bytes() == kept


@pytest.mark.parametrize("command", ["quantize", "repository"])
def test_the_external_weights_of_a_network_are_inputs(tmp_path, capsys, command):
    path, data = save_heatmap_network(tmp_path / "a.onnx"), tmp_path / "r" / "a.data"
    data.parent.mkdir()
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="r/a.data", size_threshold=0)
    detector, output = save_detector(tmp_path / "d.onnx"), data if command == "quantize" else data.parent
    options = ["--pictures", str(tmp_path / "pictures")] if command == "quantize" else []
    given = ["--pose", str(path), "--detector", str(detector), "--output", str(output)]
    assert main([command, *given, *options]) == 2
    assert f"the input {data}" in capsys.readouterr().err
    onnx.load(path)
