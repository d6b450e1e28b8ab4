"""Which layers may be in eight bits, and that a layer returned to float32 computes as before."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from export import graph_edit
from export.half_weights import restore_float, store_half
from export.quantization import graph


def quantised(network, names, dtype=np.int8):
    """Put a pair of QuantizeLinear and DequantizeLinear before layers, with a shifted zero point."""
    changed = onnx.ModelProto()
    changed.CopyFrom(network)
    nodes = []
    for node in changed.graph.node:
        if node.name in names:
            source = node.input[0]
            scale = graph_edit.constant(changed, f"{node.name}/scale", np.array(0.05, np.float32))
            zero = graph_edit.constant(changed, f"{node.name}/zero", np.array(7, dtype))
            nodes.append(onnx.helper.make_node("QuantizeLinear", [source, scale, zero], [f"{node.name}/q"]))
            nodes.append(onnx.helper.make_node("DequantizeLinear", [f"{node.name}/q", scale, zero], [f"{node.name}/d"]))
            node.input[0] = f"{node.name}/d"
        nodes.append(node)
    del changed.graph.node[:]
    changed.graph.node.extend(nodes)
    return changed


def answers(model):
    picture = np.random.default_rng(1).normal(size=(2, 4, 8, 8)).astype(np.float32)
    return graph_edit.cpu_session(model).run(["output", "answer"], {"input": picture})


def test_dense_convolutions_before_a_decision_may_be_in_eight_bits(network):
    reasons = list(graph.reasons(network).values())
    assert graph.candidates(network) == ["Conv_0", "Conv_2"]
    assert ["depthwise" in reasons[1], "one value" in reasons[3], "decision" in reasons[4]] == [True] * 3
    assert "decision" in reasons[5] and reasons[0] == reasons[2] == ""


def test_a_layer_returned_to_float32_computes_as_before(network):
    names = graph.candidates(network)
    changed = quantised(network, names)
    assert graph.in_eight_bits(changed) == names
    assert np.abs(answers(changed)[0] - answers(network)[0]).max() > 1e-3
    back = graph.with_float(changed, network, names)
    assert graph.in_eight_bits(back) == []
    assert {node.op_type for node in back.graph.node}.isdisjoint({"QuantizeLinear", "DequantizeLinear"})
    for found, expected in zip(answers(back), answers(network), strict=True):
        np.testing.assert_array_equal(found, expected)
    one = graph.with_float(changed, network, names[:1])
    assert graph.in_eight_bits(one) == names[1:]


def test_unsigned_activations_are_the_same_numbers(network):
    changed = quantised(network, graph.candidates(network))
    unsigned = graph.unsigned(changed)
    types = {tensor.data_type for tensor in unsigned.graph.initializer if tensor.name.endswith("/zero")}
    assert types == {onnx.TensorProto.UINT8}
    np.testing.assert_array_equal(answers(unsigned)[0], answers(changed)[0])


def test_a_transplanted_part_keeps_the_rest(network):
    ends = graph.last(network, graph.candidates(network))
    assert ends == ["output"]
    part = quantised(graph_edit.with_outputs(network, ends), ["Conv_0"])
    whole = graph.transplanted(part, network)
    onnx.checker.check_model(whole)
    assert graph.in_eight_bits(whole) == ["Conv_0"]
    np.testing.assert_array_equal(answers(whole)[0], answers(quantised(network, ["Conv_0"]))[0])


def test_the_share_of_a_layer_is_that_of_its_multiplications(network):
    shares = graph.multiplications(network, ["Conv_0", "Conv_2"])
    assert shares == pytest.approx({"Conv_0": 0.9, "Conv_2": 0.1})


def test_float_weights_are_restored():
    wide = np.random.default_rng(0).normal(size=(4, 256, 3, 3)).astype(np.float16).astype(np.float32)
    text = """<ir_version: 8, opset_import: ["": 17]> n (float[1,256,8,8] x) => (float[1,4,6,6] y) { y = Conv(x, w) }"""
    model = parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(wide, "w"))
    restored = restore_float(store_half(model))
    assert [node.op_type for node in restored.graph.node] == ["Conv"]
    np.testing.assert_array_equal(numpy_helper.to_array(restored.graph.initializer[0]), wide)


def test_weights_in_constant_nodes_may_be_in_eight_bits(network):
    changed = onnx.ModelProto()
    changed.CopyFrom(network)
    nodes = [onnx.helper.make_node("Constant", [], [each.name], value=each) for each in changed.graph.initializer]
    del changed.graph.initializer[:]
    graph_edit.insert_first(changed, nodes)
    ready = graph.readied(changed)
    assert graph.candidates(ready) == graph.candidates(network)
    np.testing.assert_array_equal(answers(ready)[0], answers(network)[0])


def test_float16_is_refused():
    text = """<ir_version: 8, opset_import: ["": 17]> n (float[1,4,8,8] x) => (float[1,4,8,8] y) {
        half = Cast<to=10>(x)
        halved = Relu(half)
        y = Cast<to=1>(halved)
    }"""
    with pytest.raises(ValueError, match="computes in float16; quantise its float32 file"):
        graph.readied(parser.parse_model(text))


def test_eight_bits_are_refused(network):
    with pytest.raises(ValueError, match="in eight bits already; quantise its float32 file"):
        graph.readied(quantised(network, ["Conv_0"]))


def test_transposed_convolutions_stay_in_float32():
    text = """<ir_version: 8, opset_import: ["": 17]> n (float[1,4,8,8] x) => (float[1,4,10,10] y)
        { y = ConvTranspose(x, w) }"""
    model = parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(np.ones((4, 4, 3, 3), np.float32), "w"))
    assert graph.reasons(graph.readied(model)) == {"ConvTranspose_0": "transposed convolutions are not quantised"}
