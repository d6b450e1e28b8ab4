"""Graph models as files: weights and damage; and the published networks against TensorFlow.js itself."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from ensemble.tensors import PERSON_BOXES
from export import graph_edit, metadata
from export.__main__ import main
from export.detectors.nanodet import MEAN, STD
from export.families import serve_pose_file
from export.tfjs.graph_model import read
from tests.export.tfjs.graph_files import node, save_graph_model

RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text())
NODES = [node("out", "Sigmoid", "pixels")]


@pytest.mark.parametrize(
    ("stored", "quantization", "expected"),
    [
        (np.float32([1.5, -2]), None, [1.5, -2]),
        (np.float16([1.5, -2]), {"dtype": "float16", "original_dtype": "float32"}, [1.5, -2]),
        (np.uint8([0, 255]), {"dtype": "uint8", "scale": 0.1, "min": -2.0}, [-2, 23.5]),
        (np.uint16([0, 1000]), {"dtype": "uint16", "scale": 0.01, "min": 1.0}, [1, 11]),
    ],
)
def test_weights_are_dequantised(tmp_path, stored, quantization, expected):
    path = save_graph_model(
        tmp_path / "g.json", (1, 4, 4, 3), NODES, {"w": stored, "size": np.int32([7, -1])}, quantization
    )
    weights = read(path).weights
    np.testing.assert_allclose(weights["w"], expected, rtol=1e-6)
    assert (weights["w"].dtype, weights["size"].tolist()) == (np.float32, [7, -1])


def test_damaged_files(tmp_path):
    path = save_graph_model(tmp_path / "g.json", (1, 4, 4, 3), NODES, {"w": np.float32([1, 2])})
    for data, message in (
        (bytes(7), "the weights end before the end of w"),
        (bytes(9), "1 bytes of weights belong to no tensor"),
    ):
        path.with_suffix(".bin").write_bytes(data)
        with pytest.raises(ValueError, match=message):
            read(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"g\.json: not a TensorFlow\.js graph model \(KeyError: 'modelTopology'\)"):
        read(path)


def test_the_command_refuses_other_graphs_and_options_of_checkpoints(tmp_path, capsys):
    path = save_graph_model(tmp_path / "g.json", (1, 4, 4, 3), NODES, {})
    arguments = ["onnx", "--checkpoint", str(path), "--output", str(tmp_path / "g.onnx")]
    assert main(arguments) == 1
    assert f"error: {path}: none of the graph models that are known: movenet, nanodet" in capsys.readouterr().err
    assert main([*arguments, "--flip-test"]) == 2
    assert f"error: --flip-test is for PyTorch checkpoints, not for {path}" in capsys.readouterr().err
    assert not (tmp_path / "g.onnx").exists()


@pytest.fixture(scope="module")
def photo():
    return cv2.imread(str(Path(__file__).parents[3] / "demo" / "photos" / "000000000785.jpg"))


def test_movenet_is_tensorflows(photo_network, photo):
    path, recorded = photo_network("movenet-thunder"), RECORDED["movenet-thunder"]
    crop = cv2.resize(photo, (256, 256))[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)
    (maps,) = graph_edit.cpu_session(onnx.load(path)).run(None, {"input": crop})
    assert maps.reshape(17, -1).argmax(1).tolist() == recorded["cells"]
    np.testing.assert_allclose(maps.max((0, 2, 3)), recorded["heights"], atol=1e-4)


def test_nanodet_is_tensorflows(photo_network, photo):
    picture = ((cv2.resize(photo, (416, 416)) - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)[None]
    session = graph_edit.cpu_session(onnx.load(photo_network("nanodet")))
    names = [output.name for output in session.get_outputs()]
    assert set(names) == RECORDED["nanodet"].keys()
    for name, rows in zip(names, session.run(None, {"input": picture}), strict=True):
        recorded = RECORDED["nanodet"][name]
        assert rows[0].max(1).argmax() == recorded["row"]
        np.testing.assert_allclose(rows[0, recorded["row"]], recorded["values"], atol=1e-3)


def test_movenet_is_served_with_its_own_crop_and_search(photo_network):
    path = photo_network("movenet-thunder")
    assert metadata.read(onnx.load(path))["family"] == "heatmaps"
    model = serve_pose_file(path).model
    assert (model.crop.size, model.crop.padding, model.max_batch_size) == ((256, 256), 1.03, 32)
    assert model.head.decoder.name == "decode_heatmaps_dark_in_box_offset0.5"
    assert PERSON_BOXES in model.head.decoder.inputs
