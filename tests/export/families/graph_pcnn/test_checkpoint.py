"""Reading checkpoints of both stages, and of a baseline with which both branches start."""

import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export.families.graph_pcnn.checkpoint import is_trained, load_network  # noqa: E402
from export.families.hrnet.checkpoint import shapes_of  # noqa: E402

pytestmark = pytest.mark.torch

NAME = "mine_96x64.pth"


@pytest.fixture(params=["resnet", "basic", "hrnet"])
def kind(request):
    return request.param


@pytest.mark.parametrize("prefix", ["", "module."])
def test_both_stages(tmp_path, tiny_graph_pcnn, kind, prefix):
    state = tiny_graph_pcnn(kind).state_dict()
    torch.save({"state_dict": {prefix + name: value for name, value in state.items()}}, tmp_path / NAME)
    network = load_network(tmp_path / NAME)
    assert list(network.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert not any(module.training for module in network.modules())
    assert network.variant.name == f"graphpcnn_{network.variant.baseline.name.removeprefix('pose_')}"
    assert (network.variant.width, network.variant.hidden) == (12, 16)
    assert is_trained(shapes_of(state))


def test_a_baseline_starts_both_branches(tmp_path, tiny_heatmap_network, kind):
    state = tiny_heatmap_network(kind).state_dict()
    torch.save(state, tmp_path / NAME)
    network = load_network(tmp_path / NAME)
    found = network.state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    copied = [name for name in found if name.startswith("loc_")]
    assert copied
    assert all(torch.equal(found[name], state[name.removeprefix("loc_")]) for name in copied)
    assert not is_trained(shapes_of(state))
    assert not network.training


def test_the_variant_can_be_given(tmp_path, tiny_graph_pcnn, kind):
    network = tiny_graph_pcnn(kind)
    torch.save(network.state_dict(), tmp_path / "state.pth")
    with pytest.raises(ValueError, match="say it with --variant"):
        load_network(tmp_path / "state.pth")
    ones = dataclasses.replace(network.variant, graph="ones")
    assert load_network(tmp_path / "state.pth", ones).variant == ones


@pytest.mark.parametrize(
    ("entry", "shape", "text"),
    [
        ("gpr.weight", None, "missing: gpr.weight"),
        ("gpr.weight", (54, 12, 12), r"of another shape: gpr.weight \(54, 12, 12\) instead of \(55, 12, 12\)"),
        ("loc_layer4.0.bn1.bias", None, "missing: loc_layer4.0.bn1.bias"),
        ("fc.9.weight", (3,), "unknown: fc.9.weight"),
        ("layer1.0.bn1.bias", None, "missing: layer1.0.bn1.bias"),
        ("layer1.0.bn1.bias", (3,), r"of another shape: layer1.0.bn1.bias \(3,\) instead of \(8,\)"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, tiny_graph_pcnn, entry, shape, text):
    state = tiny_graph_pcnn("resnet").state_dict()
    if shape is None:
        del state[entry]
    else:
        state[entry] = torch.zeros(shape)
    torch.save(state, tmp_path / NAME)
    with pytest.raises(ValueError, match=rf"{NAME}: not the entries of .*; {text}$"):
        load_network(tmp_path / NAME)
