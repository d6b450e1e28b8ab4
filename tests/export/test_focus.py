import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from export import graph_edit
from export.focus import without_focus

MEGVII = [(0, 0), (1, 0), (0, 1), (1, 1)]  # (row, column), in the order of Megvii's layer


def network(places, kernel=3, padding=1, size=(16, 12), stride=1, form="two slices", every=1, before=()):
    """Build Slice, Concat, Conv, Sigmoid on three channels of a picture [batch, 3 * every, 12, 16]."""
    generator, constants, nodes, parts = np.random.default_rng(0), {}, list(before), []
    source = before[-1].output[0] if before else "picture"

    def cut(data, target, starts, axes, step=2):
        values = {"starts": starts, "ends": [2**31] * len(axes), "axes": axes, "steps": [step] * len(axes)}
        names = [f"{target}/{name}" for name in values]
        constants.update(zip(names, map(np.array, values.values()), strict=True))
        nodes.append(helper.make_node("Slice", [data, *names], [target]))

    if every > 1:
        cut(source, "three", [0], [1], every)
        source = "three"
    for number, (row, column) in enumerate(places):
        if form == "two slices":
            cut(source, f"rows{number}", [row], [2])
            cut(f"rows{number}", f"part{number}", [column], [3])
        else:
            cut(source, f"part{number}", [row, column], [2, 3])
        parts.append(f"part{number}")
    nodes.append(helper.make_node("Concat", parts, ["focus"], axis=1))
    weights = generator.normal(size=(5, len(places) * 3, kernel, kernel)).astype(np.float32)
    constants |= {"weights": weights, "biases": generator.normal(size=5).astype(np.float32)}
    attributes = {"kernel_shape": [kernel] * 2, "pads": [padding] * 4, "strides": [stride] * 2}
    nodes.append(helper.make_node("Conv", ["focus", "weights", "biases"], ["maps"], **attributes))
    nodes.append(helper.make_node("Sigmoid", ["maps"], ["answer"]))
    picture = helper.make_tensor_value_info("picture", onnx.TensorProto.FLOAT, ["batch", 3 * every, *size[::-1]])
    answer = helper.make_tensor_value_info("answer", onnx.TensorProto.FLOAT, ["batch", 5, None, None])
    stored = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    model = helper.make_model(helper.make_graph(nodes, "network", [picture], [answer], stored), ir_version=8)
    model.opset_import[0].version = 13
    onnx.checker.check_model(model)
    return model


def answers(model):
    (shape,) = graph_edit.shapes(model.graph.input)
    rows = np.random.default_rng(1).uniform(-2, 2, (2, *shape[1:])).astype(np.float32)
    return graph_edit.cpu_session(model).run(None, {"picture": rows})[0]


def kinds(model):
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("form", ["two slices", "one slice"])
@pytest.mark.parametrize("places", [MEGVII, MEGVII[::-1], [(1, 0), (0, 0)], [(0, 1)], [(1, 1), (1, 1)]])
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (1, 0), (5, 2)])
def test_the_merged_convolution_answers_alike(form, places, kernel, padding):
    model = network(places, kernel, padding, form=form)
    merged = without_focus(model)
    assert kinds(merged) == ["Conv", "Sigmoid"]
    np.testing.assert_allclose(answers(merged), answers(model), atol=1e-5)
    assert kinds(model)[0] == "Slice"  # a copy was changed


def test_channels_that_are_not_read_have_no_weight():
    model = network(MEGVII, every=2)
    merged = without_focus(model)
    assert kinds(merged) == ["Conv", "Sigmoid"]
    np.testing.assert_allclose(answers(merged), answers(model), atol=1e-5)


def test_the_published_nano_begins_with_focus(shared):
    model = graph_edit.load(shared / "weights" / "yolox_nano.onnx")
    merged = without_focus(model)
    assert kinds(merged)[0] == "Conv"
    picture = np.random.default_rng(0).uniform(0, 255, (1, 3, 416, 416)).astype(np.float32)
    expected, found = (
        graph_edit.cpu_session(each).run(None, {each.graph.input[0].name: picture})[0] for each in (model, merged)
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"stride": 2},
        {"places": [(0, 0)], "size": (15, 11)},
        {"places": [(2, 2)]},
        {"before": [helper.make_node("Relu", ["picture"], ["ready"])]},
        {"before": [helper.make_node("Identity", ["picture"], ["same"]), helper.make_node("Neg", ["same"], ["ready"])]},
    ],
)
def test_what_is_no_focus_is_left_alone(changes):
    model = network(**{"places": MEGVII, **changes})
    assert without_focus(model) is model


def test_a_picture_of_open_size_is_left_alone():
    model = network(MEGVII)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    assert without_focus(model) is model


def test_shared_weights_are_left_alone():
    model = network(MEGVII)
    model.graph.node.insert(
        len(model.graph.node) - 1, helper.make_node("Conv", ["focus", "weights"], ["others"], pads=[1] * 4)
    )
    assert without_focus(model) is model
