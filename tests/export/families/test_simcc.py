import json

import numpy as np
import onnx
import onnxruntime
import pytest

from export import graph_edit
from export.families import serve_pose_file
from export.families.top_down import MEAN, STD
from tests.export.detectors.detr_networks import save_detr
from tests.networks import graph_of, save_pose_network


def run(model, **feeds):
    return graph_edit.cpu_session(model).run(None, feeds)


def random_crops(count, size=(192, 256)):
    return np.random.default_rng(1).integers(0, 256, (count, size[1], size[0], 3), np.uint8)


def test_served_uint8_equals_normalised_rgb(tmp_path):
    path = save_pose_network(tmp_path / "net.onnx")
    served = serve_pose_file(path)
    crops = random_crops(3)
    rgb = crops[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    normalised = (rgb - np.float32(MEAN).reshape(3, 1, 1)) / np.float32(STD).reshape(3, 1, 1)
    expected = onnxruntime.InferenceSession(path).run(["simcc_x", "simcc_y"], {"input": normalised})
    for ours, theirs in zip(run(graph_of(served), crops=crops), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_facts_are_read_from_the_file(tmp_path):
    network = serve_pose_file(save_pose_network(tmp_path / "net.onnx", keypoints=133, size=(288, 384))).model
    assert (network.name, network.keypoint_set, network.crop.size, network.head.bins, network.max_batch_size) == (
        *("net", "coco_wholebody", (288, 384), (576, 768), 32),
    )
    assert network.source["source_sha256"] == graph_edit.sha256(tmp_path / "net.onnx")


def test_a_fixed_batch_axis_becomes_dynamic(tmp_path):
    served = serve_pose_file(save_pose_network(tmp_path / "net.onnx", batch="1"))
    assert served.model.max_batch_size == 32
    assert run(graph_of(served), crops=random_crops(5))[0].shape == (5, 17, 384)


def test_a_file_that_mixes_its_batch_keeps_a_batch_of_one(tmp_path):
    path = save_pose_network(tmp_path / "net.onnx")
    model = onnx.load(path)
    whole_batch = onnx.helper.make_node("ReduceMean", ["mixed"], ["mean"], axes=[0], keepdims=1)
    centered = onnx.helper.make_node("Sub", ["mixed", "mean"], ["centered"])
    for node in model.graph.node:
        if node.op_type == "ReduceMax":
            node.input[0] = "centered"
    model.graph.node.insert(1, whole_batch)
    model.graph.node.insert(2, centered)
    onnx.save(model, path)
    assert serve_pose_file(path).model.max_batch_size == 1


@pytest.mark.parametrize(("agreeing", "expected"), [((0,), 32), ((1, 2), 32), ((1,), 1), ((2,), 1), ((), 1)])
def test_one_tie_does_not_disable_batching(tmp_path, monkeypatch, agreeing, expected):
    monkeypatch.setattr(graph_edit, "_agree", lambda session, seed, tolerance: seed in agreeing)
    assert serve_pose_file(save_pose_network(tmp_path / "net.onnx")).model.max_batch_size == expected


def test_statistics_of_the_metadata_are_used(tmp_path):
    path = save_pose_network(tmp_path / "net.onnx")
    model = onnx.load(path)
    meta = {"input_w": 192, "input_h": 256, "split_ratio": 2.0, "mean": [0, 0, 0], "std": [1, 1, 1], "variant": "v"}
    onnx.helper.set_model_props(model, {"cigpose_meta": json.dumps(meta)})
    onnx.save(model, path)
    served = serve_pose_file(path)
    crops = random_crops(1)
    expected = onnxruntime.InferenceSession(path).run(
        ["simcc_x"], {"input": crops[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)}
    )
    np.testing.assert_array_equal(run(graph_of(served), crops=crops)[0], expected[0])
    assert served.model.source["variant"] == "v"


def test_files_of_no_pose_network_are_rejected(tmp_path):
    with pytest.raises(ValueError, match=r"logits 2 bins, pred_boxes 4 bins for 96x64 pixels: x and y must have one"):
        serve_pose_file(save_detr(tmp_path / "detector.onnx"))
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.onnx: not a valid ONNX file"):
        serve_pose_file(tmp_path / "text.onnx")
    with pytest.raises(ValueError, match=r"none\.onnx: no such file"):
        serve_pose_file(tmp_path / "none.onnx")


def test_an_unknown_number_of_keypoints_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no keypoint set has 26 points"):
        serve_pose_file(save_pose_network(tmp_path / "net.onnx", keypoints=26))


def test_the_trained_network_keeps_its_answers(shared):
    path = shared / "weights" / "pp-tinypose_coco_256x192.onnx"
    served = serve_pose_file(path)
    assert (served.model.keypoint_set, served.model.max_batch_size) == ("coco", 32)
    alone = [run(graph_of(served), crops=crop[None])[0][0] for crop in random_crops(2)]
    np.testing.assert_allclose(run(graph_of(served), crops=random_crops(2))[0], alone, atol=1e-5)
