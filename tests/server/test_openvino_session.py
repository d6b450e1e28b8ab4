"""An OpenVINO session takes all threads while the model's other instances are idle."""

import numpy as np
import onnx.parser
import pytest

pytest.importorskip("openvino")

from server.backends.onnxruntime.openvino_session import Instances, OpenVinoSession


def test_an_instance_is_alone_until_another_computes():
    first, second, other_model = Instances("a", 0, 2), Instances("a", 1, 2), Instances("b", 1, 2)
    for _ in range(2):
        with other_model.computing(), first.computing() as alone:
            assert alone
            with second.computing() as alone_too:
                assert not alone_too


def test_two_versions_of_an_instance_know_of_each_other():
    with Instances("a", 0, 2).computing() as alone, Instances("a", 0, 2).computing() as alone_too:
        assert (alone, alone_too) == (True, False)


def test_an_instance_that_fails_counts_as_idle():
    with pytest.raises(RuntimeError), Instances("a", 0, 2).computing():
        raise RuntimeError
    with Instances("a", 1, 2).computing() as alone:
        assert alone


def test_the_number_of_threads_does_not_change_results(repository):
    crops = np.random.default_rng(0).integers(0, 255, (3, 256, 192, 3), np.uint8)
    session = OpenVinoSession(repository / "spots" / "1" / "model.onnx", 1, "f32", Instances("spots", 0, 2))
    on_two, again = (session.run(["simcc_x"], {"crops": crops})[0] for _ in range(2))
    with Instances("spots", 1, 2).computing():
        on_one = session.run(["simcc_x"], {"crops": crops})[0]
    assert np.shares_memory(on_two, again)  # a session of OpenVINO writes all its results to one place
    assert not np.shares_memory(on_two, on_one)
    assert len(np.unique(on_one, axis=0)) == len(crops)
    np.testing.assert_array_equal(on_one, on_two)


def test_an_input_has_its_own_name_only(tmp_path):
    """A served lifter begins with nodes that rename its inputs."""
    graph = """
    <ir_version: 8, opset_import: ["": 17]>
    renames (float[N,2] points) => (float[N,2] doubled, float[N,2] same) {
        inner = Identity(points)
        doubled = Add(inner, inner)
        same = Identity(doubled)
    }"""
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(graph), path)
    session = OpenVinoSession(path, 1, "f32")
    assert [value.name for value in session.get_inputs()] == ["points"]
    assert {"doubled", "same"} <= {value.name for value in session.get_outputs()}
    doubled, same = session.run(["doubled", "same"], {"points": np.float32([[1, 2]])})
    np.testing.assert_array_equal(doubled, [[2, 4]])
    np.testing.assert_array_equal(same, [[2, 4]])
