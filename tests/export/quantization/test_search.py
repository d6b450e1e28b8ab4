"""Which layers return to float32, and when a quantised network is refused."""

import numpy as np
import onnx
import pytest

from export.quantization import graph, search
from export.quantization.loss import AP, Loss
from tests.export.quantization.test_graph import quantised

CHANCE = np.random.default_rng(0)
FEEDS = [{"input": CHANCE.normal(size=(1, 4, 8, 8)).astype(np.float32)} for _ in range(2)]
ERRORS = {"Conv_0": 0.02, "Conv_2": 0.01}  # of each layer in eight bits; their shares of the work are 0.9 and 0.1


@pytest.fixture
def find(network, monkeypatch):
    """Return a function that searches, where a version loses the sum of its layers' errors."""
    monkeypatch.setattr(search, "quantise", lambda original, feeds: quantised(original, graph.candidates(original)))
    monkeypatch.setattr(search, "sensitivities", lambda *_: ERRORS)

    def run(may_lose, error=0.0):
        def measure(model):
            return Loss(AP, 0.5, 0.5 - sum(ERRORS[name] for name in graph.in_eight_bits(model)), error)

        return search.search(network, FEEDS, measure, may_lose)

    return run


def test_nothing_returns_when_little_is_lost(find):
    found = find(may_lose=0.05)
    assert (found.eight_bits, found.returned) == (["Conv_0", "Conv_2"], {})
    assert found.loss.lost == pytest.approx(0.03)


def test_the_layer_with_the_largest_error_for_its_work_returns_first(find):
    found = find(may_lose=0.025)
    assert (found.eight_bits, found.returned) == (["Conv_0"], {"Conv_2": 0.01})


def test_the_standard_error_counts(find):
    assert find(may_lose=0.031).eight_bits == ["Conv_0", "Conv_2"]
    assert find(may_lose=0.031, error=0.005).eight_bits == ["Conv_0"]


def test_too_large_a_loss_is_refused_with_its_figures(find):
    with pytest.raises(search.TooMuchLost, match=r"loss 0\.0200.*1 layers in float32; 0\.01 is allowed") as refused:
        find(may_lose=0.01)
    assert refused.value.loss.lost == pytest.approx(0.02)


def test_the_error_of_a_layer_is_that_of_its_own_eight_bits(network):
    names = graph.candidates(network)
    errors = search.sensitivities(network, quantised(network, names), FEEDS)
    assert 0.001 < errors["Conv_0"] < 0.1 < errors["Conv_2"], "the input of Conv_2 exceeds the range of eight bits"


def test_a_network_without_candidates_is_refused_with_the_reasons(network):
    pytest.importorskip("nncf")
    changed = onnx.ModelProto()
    changed.CopyFrom(network)
    for node in changed.graph.node:
        if node.op_type == "Conv":
            node.attribute.append(onnx.helper.make_attribute("group", 4))
    with pytest.raises(ValueError, match="can be in eight bits: depthwise convolutions gain nothing; they follow"):
        search.quantise(changed, FEEDS)
