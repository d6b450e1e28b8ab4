"""Every operator that is converted, against its definition in numpy, for a batch of two."""

import numpy as np
import pytest

from export import graph_edit
from export.tfjs import Output, to_onnx
from export.tfjs.draft import CHANNELS_FIRST, Value
from export.tfjs.graph_model import read
from tests.export.tfjs import tensorflow_operators as tf
from tests.export.tfjs.graph_files import node, save_graph_model

HEIGHT, WIDTH = 7, 10
GENERATOR = np.random.default_rng(0)


def floats(*shape):
    return GENERATOR.normal(size=shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int32)


def converted(tmp_path, nodes, weights, channels=3, output="out"):
    """Return what the ONNX file answers for two pictures, and the pictures, channels last."""
    shape = (1, HEIGHT, WIDTH, channels)
    graph = read(save_graph_model(tmp_path / "graph.json", shape, nodes, weights))
    source = Value("input", shape, CHANNELS_FIRST)
    model = to_onnx(graph, "pixels", source, {"answer": Output(output, CHANNELS_FIRST)})
    pictures = floats(2, HEIGHT, WIDTH, channels)
    (answer,) = graph_edit.cpu_session(model).run(None, {"input": pictures.transpose(0, 3, 1, 2)})
    assert graph_edit.shapes(model.graph.output) == [[0, *answer.shape[1:]]]
    return answer.transpose(0, 2, 3, 1), pictures


def check(answer, pictures, expected):
    for one, picture in zip(answer, pictures, strict=True):
        np.testing.assert_allclose(one, expected(picture[None].astype(float))[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (3, 1)])
@pytest.mark.parametrize("size", [(3, 3), (2, 4), (1, 1)])
@pytest.mark.parametrize("op", ["Conv2D", "DepthwiseConv2dNative"])
def test_convolutions(tmp_path, op, size, stride, dilation, padding):
    weights = {"kernel": floats(*size, 3, 2)}
    window = {"strides": [1, stride, stride, 1], "dilations": [1, dilation, dilation, 1], "padding": padding}
    answer, pictures = converted(tmp_path, [node("out", op, "pixels", "kernel", data_format="NHWC", **window)], weights)
    definition = tf.convolution if op == "Conv2D" else tf.depthwise
    check(
        answer,
        pictures,
        lambda x: definition(x, weights["kernel"], (stride, stride), (dilation, dilation), padding),
    )


ACTIVATIONS = {
    "Relu": lambda x: np.maximum(x, 0),
    "Relu6": lambda x: np.clip(x, 0, 6),
    "LeakyRelu": lambda x: np.where(x > 0, x, 0.1 * x),
}


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize("op", ["_FusedConv2D", "FusedDepthwiseConv2dNative"])
def test_fused_bias_and_activation(tmp_path, op, activation):
    weights = {"kernel": 3 * floats(3, 3, 3, 2), "bias": floats(2 if op == "_FusedConv2D" else 6)}
    fused = ["BiasAdd", *([activation] if activation else [])]
    options = {"strides": [1, 2, 2, 1], "padding": "SAME", "fused_ops": fused, "leakyrelu_alpha": 0.1}
    answer, pictures = converted(tmp_path, [node("out", op, "pixels", "kernel", "bias", **options)], weights)
    definition = tf.convolution if op == "_FusedConv2D" else tf.depthwise
    activate = ACTIVATIONS.get(activation, lambda x: x)
    check(answer, pictures, lambda x: activate(definition(x, weights["kernel"], (2, 2)) + weights["bias"]))


@pytest.mark.parametrize("name", ["LeakyRelu", "Sigmoid"])
def test_activations(tmp_path, name):
    expected = {**ACTIVATIONS, "Sigmoid": lambda x: 1 / (1 + np.exp(-x))}[name]
    answer, pictures = converted(tmp_path, [node("out", name, "pixels", alpha=0.1)], {})
    check(answer, pictures, expected)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_max_pool(tmp_path, padding):
    window = {"ksize": [1, 3, 2, 1], "strides": [1, 2, 2, 1], "padding": padding}
    answer, pictures = converted(tmp_path, [node("out", "MaxPool", "pixels", **window)], {})
    check(answer, pictures, lambda x: tf.max_pool(x, (3, 2), (2, 2), padding))


@pytest.mark.parametrize("places", [{}, {"half_pixel_centers": True}, {"align_corners": True}])
@pytest.mark.parametrize("size", [(14, 20), (5, 13)])
def test_resizing(tmp_path, size, places):
    nodes = [node("out", "ResizeBilinear", "pixels", "size", **places)]
    answer, pictures = converted(tmp_path, nodes, {"size": ints(*size)})
    corners, half = places.get("align_corners", False), places.get("half_pixel_centers", False)
    check(answer, pictures, lambda x: tf.resize(x, size, corners, half))


@pytest.mark.parametrize("shape", [(), (3,), (1, 1, 1, 3), (HEIGHT, WIDTH, 1)])
@pytest.mark.parametrize(("op", "function"), [("AddV2", np.add), ("Sub", np.subtract), ("Mul", np.multiply)])
def test_arithmetic_with_constants(tmp_path, op, function, shape):
    values = floats(*shape) if shape else np.array(1.5, np.float32)
    nodes = [node("half", op, "pixels", "values"), node("out", op, "values", "half")]
    answer, pictures = converted(tmp_path, nodes, {"values": values})
    check(answer, pictures, lambda x: function(values, function(x, values)))


def test_arithmetic_with_tensors_of_other_orders(tmp_path):
    nodes = [
        node("planes", "Transpose", "pixels", "to_planes"),
        node("padded", "Pad", "planes", "pads"),
        node("back", "Transpose", "padded", "to_pixels"),
        node("wide", "PadV2", "pixels", "pads_last", "seven"),
        node("out", "Sub", "wide", "back"),
    ]
    weights = {"to_planes": ints(0, 3, 1, 2), "to_pixels": ints(0, 2, 3, 1), "seven": np.array(7, np.float32)}
    weights["pads"] = ints(0, 0, 0, 0, 1, 2, 3, 0).reshape(4, 2)
    weights["pads_last"] = ints(0, 0, 1, 2, 3, 0, 0, 0).reshape(4, 2)
    answer, pictures = converted(tmp_path, nodes, weights)
    around = [(0, 0), (1, 2), (3, 0), (0, 0)]
    check(answer, pictures, lambda x: np.pad(x, around, constant_values=7) - np.pad(x, around))


def test_parts_and_their_concatenation(tmp_path):
    nodes = [
        node("parts", "SplitV", "pixels", "sizes", "last", num_split=3),
        node("out", "ConcatV2", "parts:2", "parts", "parts:1", "last", N=3),
    ]
    answer, pictures = converted(tmp_path, nodes, {"sizes": ints(1, 2, 3), "last": np.array(-1, np.int32)}, channels=6)
    check(answer, pictures, lambda x: x[..., [3, 4, 5, 0, 1, 2]])


def test_rows_of_cells(tmp_path):
    shape = (1, HEIGHT, WIDTH, 3)
    graph = read(save_graph_model(tmp_path / "graph.json", shape, [node("out", "LeakyRelu", "pixels", alpha=0.0)], {}))
    model = to_onnx(
        graph, "pixels", Value("input", shape, CHANNELS_FIRST), {"rows": Output("out", (0, 1, 2, 3), rows=True)}
    )
    pictures = floats(2, HEIGHT, WIDTH, 3)
    (rows,) = graph_edit.cpu_session(model).run(None, {"input": pictures.transpose(0, 3, 1, 2)})
    np.testing.assert_array_equal(rows, np.maximum(pictures, 0).reshape(2, -1, 3))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (node("out", "Softplus", "pixels"), "out: operator Softplus is unknown; known: .*Conv2D"),
        (
            node("out", "MaxPool", "pixels", padding="EXPLICIT", ksize=[1, 2, 2, 1]),
            "out: padding EXPLICIT; known: SAME",
        ),
        (node("out", "MaxPool", "pixels", data_format="NCHW"), "out: data format NCHW; known: NHWC"),
        (node("out", "Sigmoid", "elsewhere"), "elsewhere does not follow from pixels"),
        (
            node("out", "_FusedConv2D", "pixels", "kernel", padding="SAME", fused_ops=["FusedBatchNorm"]),
            r"out: fused operators \['FusedBatchNorm'\]; the first must be BiasAdd",
        ),
        (
            node("out", "_FusedConv2D", "pixels", "kernel", "bias", padding="SAME", fused_ops=["BiasAdd", "Elu"]),
            "out: activation Elu is unknown",
        ),
    ],
)
def test_what_is_refused(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        converted(tmp_path, [wrong], {"kernel": floats(3, 3, 3, 2), "bias": floats(2)})
