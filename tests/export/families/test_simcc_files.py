"""Pose files of other publishers: facts in the file are read, missing ones require an option."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ensemble.keypoints import keypoint_set
from export import graph_edit
from export.__main__ import main
from export.families import PoseOptions, serve_pose_file
from export.repository import build_repository
from tests.in_process import InProcess
from tests.networks import graph_of, save_detector, save_pose_network
from tests.pictures import encode, picture_with_persons
from tests.triton import call


def changed(path, change):
    model = onnx.load(path)
    change(model)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def renamed(path, x, y, swapped=False):
    """Rename the outputs and optionally swap them."""

    def change(model):
        names = {"simcc_x": x, "simcc_y": y}
        for node in model.graph.node:
            node.output[:] = [names.get(name, name) for name in node.output]
        for value in model.graph.output:
            value.name = names[value.name]
        if swapped:
            values = list(model.graph.output)[::-1]
            del model.graph.output[:]
            model.graph.output.extend(values)

    return changed(path, change)


def run(served, crops):
    return graph_edit.cpu_session(graph_of(served)).run(["simcc_x", "simcc_y"], {"crops": crops})


def crops_of(size, count=2):
    return np.random.default_rng(1).integers(0, 256, (count, size[1], size[0], 3), np.uint8)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("names", [("pred.X", "pred.Y"), ("501", "502")])
def test_outputs_of_any_name_and_order(tmp_path, names, swapped):
    plain = serve_pose_file(save_pose_network(tmp_path / "plain.onnx"))
    other = serve_pose_file(renamed(save_pose_network(tmp_path / "other.onnx"), *names, swapped=swapped))
    assert other.model.head.bins == (384, 512)
    for ours, theirs in zip(run(plain, crops_of((192, 256))), run(other, crops_of((192, 256))), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_square_crop_with_ambiguous_names_requires_the_option(tmp_path):
    named = serve_pose_file(save_pose_network(tmp_path / "a.onnx", size=(64, 64)))
    path = renamed(save_pose_network(tmp_path / "b.onnx", size=(64, 64)), "501", "502", swapped=True)
    with pytest.raises(ValueError, match="choose with --simcc-outputs 502,501 or 501,502"):
        serve_pose_file(path)
    with pytest.raises(ValueError, match="its outputs are 502 and 501, not 1 and 2"):
        serve_pose_file(path, PoseOptions(outputs=("1", "2")))
    chosen = serve_pose_file(path, PoseOptions(outputs=("501", "502")))
    for one, other in zip(run(named, crops_of((64, 64))), run(chosen, crops_of((64, 64))), strict=True):
        np.testing.assert_array_equal(one, other)


def test_names_that_contradict_the_shapes_are_refused(tmp_path):
    path = renamed(save_pose_network(tmp_path / "a.onnx"), "simcc_y", "simcc_x")
    with pytest.raises(ValueError, match=r"simcc_y 384 bins.* for 192x256 pixels: x and y must have one split ratio"):
        serve_pose_file(path)


def open_size(model):
    for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], "hw", strict=True):
        dim.dim_param = name
    for value in model.graph.output:  # as some exporters write them
        value.type.tensor_type.shape.dim[1].dim_param = "points"
        value.type.tensor_type.shape.dim[2].dim_param = f"{value.name}_bins"


def test_an_open_size_requires_the_command_line_option(tmp_path, capsys):
    pose = changed(save_pose_network(tmp_path / "open.onnx"), open_size)
    detector = save_detector(tmp_path / "d.onnx")
    arguments = ["repository", "--pose", str(pose), "--detector", str(detector), "--output", str(tmp_path / "r")]
    assert main(arguments) == 1
    assert "set them with --input-size WIDTHxHEIGHT" in capsys.readouterr().err
    assert main([*arguments, "--input-size", "192x256"]) == 0
    assert "open: max_batch_size 32, 192x256 pixels" in capsys.readouterr().out
    config = (tmp_path / "r" / "open" / "config.pbtxt").read_text()
    assert "dims: 384" in config
    assert "dims: 512" in config


def describe(meta):
    return lambda model: helper.set_model_props(
        model, {"cigpose_meta": meta if isinstance(meta, str) else json.dumps(meta)}
    )


def test_an_open_size_is_read_from_the_metadata(tmp_path):
    path = changed(save_pose_network(tmp_path / "a.onnx"), open_size)
    changed(path, describe({"input_w": 192, "input_h": 256, "split_ratio": 2.0}))
    assert serve_pose_file(path).model.crop.size == (192, 256)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (
            {"input_w": 288, "input_h": 384},
            "contradicts the network: says input_w 288, is 192; says input_h 384, is 256",
        ),
        ({"split_ratio": 3.0}, "says split_ratio 3.0, is 2"),
        ({"num_keypoints": 133}, "says num_keypoints 133, is 17"),
        ({"keypoint_set": "crowdpose"}, "says crowdpose, which has 14 points, not 17"),
        ({"keypoint_set": "hands"}, "unknown keypoint set 'hands'"),
        ("nothing", "is no JSON object but 'nothing'"),
        ("[1]", "is no JSON object"),
    ],
)
def test_metadata_that_contradicts_the_network_is_refused(tmp_path, meta, message):
    path = changed(save_pose_network(tmp_path / "a.onnx"), describe(meta))
    with pytest.raises(ValueError, match=message):
        serve_pose_file(path)


def to_half(model):
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16


def test_float16_inputs_and_outputs(tmp_path):
    plain = serve_pose_file(save_pose_network(tmp_path / "a.onnx"))
    half = serve_pose_file(changed(save_pose_network(tmp_path / "b.onnx"), to_half))
    for ours, theirs in zip(run(plain, crops_of((192, 256))), run(half, crops_of((192, 256))), strict=True):
        assert theirs.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=2e-2)


def test_weights_listed_as_inputs(tmp_path):
    def change(model):
        for tensor in model.graph.initializer:
            value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            model.graph.input.append(value)

    path = changed(save_pose_network(tmp_path / "a.onnx"), change)
    assert serve_pose_file(path).model.max_batch_size == 32


def test_other_inputs_are_refused(tmp_path):
    def change(model):
        model.graph.input.append(helper.make_tensor_value_info("scale", TensorProto.FLOAT, [1]))

    with pytest.raises(ValueError, match="inputs input, scale; the pipelines feed only the picture"):
        serve_pose_file(changed(save_pose_network(tmp_path / "a.onnx"), change))


@pytest.fixture(scope="module")
def batch_of_one(tmp_path_factory):
    """A file that cannot be batched: it subtracts the mean of the whole batch from every crop."""
    folder = tmp_path_factory.mktemp("one")

    def change(model):
        for node in model.graph.node:
            if node.op_type == "ReduceMax":
                node.input[0] = "centered"
        model.graph.node.insert(1, helper.make_node("ReduceMean", ["mixed"], ["mean"], axes=[0, 2, 3], keepdims=1))
        model.graph.node.insert(2, helper.make_node("Sub", ["mixed", "mean"], ["centered"]))

    return changed(save_pose_network(folder / "alone.onnx", batch="1"), change)


def test_the_command_reports_a_network_that_cannot_batch(batch_of_one, tmp_path, capsys):
    detector = save_detector(tmp_path / "d.onnx")
    arguments = ["--pose", str(batch_of_one), "--detector", str(detector), "--output", str(tmp_path / "r")]
    assert main(["repository", *arguments]) == 0
    out = capsys.readouterr().out
    assert "alone: max_batch_size 1," in out
    assert "a batch of two fails or differs from two single runs, so requests are not batched" in out


def test_the_flip_test_of_any_file(tmp_path):
    path = save_pose_network(tmp_path / "spots.onnx")
    plain, tested = serve_pose_file(path), serve_pose_file(path, PoseOptions(flip_test=True))
    partners, crops = list(keypoint_set("coco").flip_indices), crops_of((192, 256), 3)
    simcc_x, simcc_y = run(plain, crops)
    mirrored_x, mirrored_y = run(plain, np.ascontiguousarray(crops[:, :, ::-1]))
    expected = (simcc_x + mirrored_x[:, partners, ::-1]) / 2, (simcc_y + mirrored_y[:, partners]) / 2
    for ours, theirs in zip(run(tested, crops), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert tested.model.source["flip_test"] == "True"


def test_the_flip_test_of_the_command(tmp_path, capsys):
    pose, detector = save_pose_network(tmp_path / "p.onnx"), save_detector(tmp_path / "d.onnx")
    arguments = ["--pose", str(pose), "--detector", str(detector), "--output", str(tmp_path / "r")]
    assert main(["repository", *arguments, "--flip-test"]) == 0
    assert "it doubles the cost of every request" in capsys.readouterr().out
    assert 'key: "flip_test"' in (tmp_path / "r" / "p" / "config.pbtxt").read_text()


def test_a_second_flip_test_is_rejected(tmp_path):
    path = save_pose_network(tmp_path / "p.onnx")
    changed(path, lambda model: helper.set_model_props(model, {"cigpose_meta": json.dumps({"flip_test": True})}))
    with pytest.raises(ValueError, match="mirrored crop already; leave --flip-test out"):
        serve_pose_file(path, PoseOptions(flip_test=True))


def test_the_flip_test_needs_batches(batch_of_one):
    with pytest.raises(ValueError, match="runs every crop with its mirror image; export the network with a dynamic"):
        serve_pose_file(batch_of_one, PoseOptions(flip_test=True))


@pytest.mark.server
def test_a_network_that_cannot_batch_is_served(batch_of_one, serve, tmp_path):
    """The answer has one person, and `persons_detected` counts all. More given boxes are rejected with the limit."""
    other = save_pose_network(tmp_path / "many.onnx")
    build_repository([batch_of_one, other], save_detector(tmp_path / "d.onnx"), tmp_path / "r")
    picture = encode(picture_with_persons([(10, 10), (30, 20), (45, 40)]))
    bboxes = np.array([[60, 60, 160, 200], [50, 60, 300, 400]], np.float32)
    with serve(tmp_path / "r", profile="cpu") as server:
        answer, all_of_them = call(server, "pose", picture), call(server, "pose_many", picture)
        given = call(server, "pose_from_boxes", picture, bboxes[:1])
        refused = call(server, "pose_from_boxes", picture, bboxes, error=True)
    assert (answer["keypoints"].shape, all_of_them["keypoints"].shape) == ((1, 17, 2), (3, 17, 2))
    assert answer["persons_detected"] == all_of_them["persons_detected"] == 3
    np.testing.assert_array_equal(answer["bboxes"], all_of_them["bboxes"][:1])
    expected = InProcess(tmp_path / "r", "alone").estimate(picture, max_persons=1)
    np.testing.assert_array_equal(answer["keypoints"], expected[2])
    assert given["keypoints"].shape == (1, 17, 2)
    assert "network's limit of 1 a request" in str(refused)


def test_the_config_states_the_provenance(tmp_path):
    meta = {"variant": "v", "precision": "fp16", "flip_test": True, "checkpoint_sha256": "c" * 64, "exporter": "e 1"}
    pose = changed(save_pose_network(tmp_path / "spots.onnx"), describe(meta))
    build_repository([pose], save_detector(tmp_path / "d.onnx"), tmp_path / "r")
    config = (tmp_path / "r" / "spots" / "config.pbtxt").read_text()
    expected = {**meta, "flip_test": "True", "source_file": "spots.onnx", "source_sha256": graph_edit.sha256(pose)}
    for key, value in expected.items():
        assert f'key: "{key}"\n  value {{\n    string_value: "{value}"' in config


def test_measured_shapes_equal_those_of_a_plain_session(tmp_path):
    path = changed(save_pose_network(tmp_path / "a.onnx", keypoints=133), open_size)
    served = serve_pose_file(path, PoseOptions(input_size=(192, 256)))
    zeros = np.zeros((1, 3, 256, 192), np.float32)
    shapes = [
        rows.shape[1:] for rows in onnxruntime.InferenceSession(path).run(["simcc_x", "simcc_y"], {"input": zeros})
    ]
    assert shapes == [(133, served.model.head.bins[0]), (133, served.model.head.bins[1])]
