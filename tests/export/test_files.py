"""Unusual ONNX files: what can be served is, everything else is rejected with a reason before anything is written."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export import graph_edit
from export.__main__ import main
from export.families import serve_pose_file
from export.repository import build_repository
from tests.networks import graph_of, save_detector, save_heatmap_network

SIZE = (96, 128)


def save(path, change):
    save_heatmap_network(path, size=SIZE)
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    return path


def branch(name, nodes, output):
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)])


def double_in_a_branch(model):
    """Double the maps in the branch of an If, by weights of the outer graph; the If reads one itself."""
    for name, value in (("two", np.float32(2)), ("always", np.array(True))):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    model.graph.node[-1].output[0] = "maps"
    choice = helper.make_node("Where", ["always", "two", "two"], ["factor"])
    then = branch("then", [choice, helper.make_node("Mul", ["maps", "factor"], ["doubled"])], "doubled")
    other = branch("other", [helper.make_node("Identity", ["maps"], ["same"])], "same")
    model.graph.node.append(helper.make_node("If", ["always"], ["output"], then_branch=then, else_branch=other))


def list_weights_as_inputs(model):
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))


def state_no_output_shape(model):
    model.graph.output[0].type.tensor_type.ClearField("shape")


@pytest.mark.parametrize(
    ("change", "factor"), [(double_in_a_branch, 2), (list_weights_as_inputs, 1), (state_no_output_shape, 1)]
)
def test_unusual_files_are_served(tmp_path, change, factor):
    plain, unusual = save(tmp_path / "plain.onnx", lambda _: None), save(tmp_path / "unusual.onnx", change)
    crops = np.random.default_rng(0).integers(0, 256, (2, SIZE[1], SIZE[0], 3), np.uint8)
    expected, found = (
        graph_edit.cpu_session(graph_of(serve_pose_file(path))).run(None, {"crops": crops})[0]
        for path in (plain, unusual)
    )
    np.testing.assert_allclose(found, factor * expected, rtol=1e-5)
    build_repository([unusual], save_detector(tmp_path / "d.onnx"), tmp_path / "r")


def use_an_unknown_operator(model):
    model.graph.node[-1].domain, model.graph.node[-1].op_type = "theirs", "Pool"
    model.opset_import.append(helper.make_opsetid("theirs", 1))


def take_bytes(model):
    model.graph.input[0].name = "bytes"
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    model.graph.node.insert(0, helper.make_node("Cast", ["bytes"], ["input"], to=TensorProto.FLOAT))


def compute_in_float64(model):
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    (weights,) = model.graph.initializer
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights).astype(np.float64), weights.name))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (use_an_unknown_operator, "ONNX Runtime cannot run it with an input of [1, 3, 128, 96]: "),
        (take_bytes, "the input bytes is UINT8; export the network with FLOAT or FLOAT16"),
        (compute_in_float64, "the input input is DOUBLE; export the network with FLOAT or FLOAT16"),
    ],
)
def test_a_network_that_cannot_run_is_rejected(tmp_path, capsys, change, message):
    pose, detector = save(tmp_path / "a.onnx", change), save_detector(tmp_path / "d.onnx")
    folder = tmp_path / "r"
    assert main(["repository", "--pose", str(pose), "--detector", str(detector), "--output", str(folder)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {pose}: {message}")
    assert not folder.exists()


def test_a_served_form_that_cannot_run_is_named(tmp_path):
    model = onnx.load(save(tmp_path / "a.onnx", use_an_unknown_operator))
    with pytest.raises(ValueError, match=r"a\.onnx: ONNX Runtime cannot run its served form: .*theirs"):
        graph_edit.check_runs(tmp_path / "a.onnx", model)


def test_a_missing_file_of_weights_is_named(tmp_path):
    model = onnx.load(save_heatmap_network(tmp_path / "a.onnx"))
    onnx.save(model, tmp_path / "a.onnx", save_as_external_data=True, location="a.data", size_threshold=0)
    assert graph_edit.load(tmp_path / "a.onnx").graph.initializer[0].raw_data
    (tmp_path / "a.data").unlink()
    with pytest.raises(ValueError, match=r"a\.onnx: its weights are in .*a\.data, which does not exist; put that file"):
        graph_edit.load(tmp_path / "a.onnx")


@pytest.mark.parametrize("size", ["0x10", "10x00", "10", "axb"])
def test_a_size_is_two_positive_numbers(size, capsys):
    with pytest.raises(SystemExit):
        main(["repository", "--pose", "a.onnx", "--output", "r", "--input-size", size])
    assert f"'{size}' is not WIDTHxHEIGHT" in capsys.readouterr().err
