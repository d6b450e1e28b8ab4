"""The network in ONNX Runtime, with and without the flip test, and with stage 1 in reduced precision."""

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export import graph_edit  # noqa: E402
from export.families.crops import INPUT, example_crops  # noqa: E402
from export.families.graph_pcnn.export import decided_crops  # noqa: E402
from export.families.graph_pcnn.forms import FlipTested, stage2_weights, with_half_stage1  # noqa: E402
from export.families.graph_pcnn.variants import OUTPUTS  # noqa: E402
from export.half_weights import store_half  # noqa: E402
from export.onnx_export import trace  # noqa: E402

pytestmark = pytest.mark.torch

KINDS = ["resnet", "basic", "hrnet"]
REFINED = 1e-3  # cells of the heat maps


def crops_for(network, count):
    return example_crops(network.variant.baseline, count)


def run(module, crops):
    with torch.no_grad():
        return [value.numpy() for value in module(crops)]


@pytest.mark.parametrize("flip_test", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_onnx_runtime_answers_the_same_at_every_batch_size(tiny_graph_pcnn, kind, flip_test):
    network = tiny_graph_pcnn(kind)
    form = FlipTested(network) if flip_test else network
    model = traced(form)
    assert [entry.version for entry in model.opset_import] == [17]
    assert not {node.op_type for node in model.graph.node} & {"NonZero", "ScatterND", "TopK", "Loop", "If"}
    session = graph_edit.cpu_session(model)
    crops = decided_crops(form, 6)
    for batch in crops.split((1, 2, 3)):
        refined, coarse, scores = session.run(OUTPUTS, {"input": batch.numpy()})
        expected = [np.concatenate(values) for values in zip(*(run(form, crop[None]) for crop in batch), strict=True)]
        np.testing.assert_array_equal(coarse, expected[1])
        np.testing.assert_allclose(refined, expected[0], rtol=0, atol=REFINED)
        np.testing.assert_allclose(scores, expected[2], rtol=0, atol=1e-4)


def traced(form):
    shapes = dict(zip(OUTPUTS, ((17, 2), (17, 2), (17,)), strict=True))
    return trace(form, {INPUT: example_crops(form.variant.baseline, 2)}, shapes)


@pytest.mark.parametrize("kind", KINDS)
def test_stage2_stays_in_float32(tiny_graph_pcnn, kind):
    network = tiny_graph_pcnn(kind)
    halved = with_half_stage1(network)
    assert network.conv1.weight.dtype == torch.float32
    model = traced(halved)
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    kinds |= {value.name: value.type.tensor_type.elem_type for value in inferred}
    convolutions = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm")]
    for node in convolutions:
        half = not node.name.startswith(("/loc_", "/gpr", "/fc", "/cls", "/reg"))
        assert (kinds[node.input[0]] == onnx.TensorProto.FLOAT16) == half, node.name
    kinds["scores"] = onnx.TensorProto.FLOAT
    gates = [node for node in model.graph.node if node.op_type in ("ArgMax", "Greater", "GridSample")]
    assert onnx.TensorProto.FLOAT16 not in {kinds[node.input[0]] for node in gates}
    crops = crops_for(network, 8)
    assert np.median(np.abs(run(halved, crops)[2] - run(network, crops)[2])) < 0.02


@pytest.mark.parametrize("flip_test", [False, True])
def test_weights_of_stage2_are_stored_in_float32(tiny_graph_pcnn, flip_test):
    network = tiny_graph_pcnn("resnet", width=40)
    model = traced(FlipTested(network) if flip_test else network)
    kept = stage2_weights(model)
    halved = {t.name for t in store_half(model, kept).graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    large = {f"{t.name}/float16" for t in model.graph.initializer if np.prod(t.dims) >= 1024}
    assert halved == large - {f"{name}/float16" for name in kept}
    stage2 = sum(value.numel() for name, value in network.named_parameters() if name.startswith(("loc_", "gpr", "fc")))
    stored = sum(np.prod(t.dims) for t in model.graph.initializer if t.name in kept)
    assert 0.9 * stage2 < stored < 1.1 * stage2
