"""Weights stored in float16."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export import graph_edit
from export.half_weights import store_half


def product(weights, bias):
    """Return a model that multiplies by `weights` and adds `bias`."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["y"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 64]) for name in ("x", "y")]
    stored = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")]
    graph = helper.make_graph(nodes, "product", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_large_weights_are_rounded_and_small_ones_kept():
    generator = np.random.default_rng(0)
    weights, bias, x = (generator.normal(size=size).astype(np.float32) for size in ((64, 64), 64, (2, 64)))
    model = product(weights, bias)
    halved = store_half(model)
    onnx.checker.check_model(halved, full_check=True)
    assert halved.ByteSize() < 0.6 * model.ByteSize()
    (answer,) = graph_edit.cpu_session(halved).run(None, {"x": x})
    np.testing.assert_allclose(answer, x @ weights.astype(np.float16).astype(np.float32) + bias, rtol=1e-4, atol=1e-4)


def test_weights_beyond_float16_are_named():
    weights = np.zeros((64, 64), np.float32)
    weights[3, 4] = 1e5
    with pytest.raises(ValueError, match=r"w reaches 1e\+05"):
        store_half(product(weights, np.zeros(64, np.float32)))
