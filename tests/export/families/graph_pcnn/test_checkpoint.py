"""Reading checkpoints of both stages, and of a baseline with which both branches start."""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export.checkpoint import Checkpoint, read_checkpoint  # noqa: E402
from export.families.graph_pcnn.checkpoint import load_network  # noqa: E402
from tests.export.families.hrnet.test_checkpoint import entries_of  # noqa: E402

pytestmark = pytest.mark.torch

NAME = "mine_96x64.pth"


@pytest.fixture(params=["resnet", "basic", "hrnet"])
def kind(request):
    return request.param


def load(path, *arguments):
    return load_network(read_checkpoint(path), *arguments)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_both_stages(tmp_path, tiny_graph_pcnn, kind, prefix):
    state = tiny_graph_pcnn(kind).state_dict()
    torch.save({"state_dict": {prefix + name: value for name, value in state.items()}}, tmp_path / NAME)
    network = load(tmp_path / NAME)
    assert list(network.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert not any(module.training for module in network.modules())
    assert network.variant.name == f"graphpcnn_{network.variant.baseline.name.removeprefix('pose_')}"
    assert (network.variant.width, network.variant.hidden) == (12, 16)
    assert network.trained


def test_a_baseline_starts_both_branches(tmp_path, tiny_heatmap_network, kind):
    state = tiny_heatmap_network(kind).state_dict()
    torch.save(state, tmp_path / NAME)
    network = load(tmp_path / NAME)
    found = network.state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    copied = [name for name in found if name.startswith("loc_")]
    assert copied
    assert all(torch.equal(found[name], state[name.removeprefix("loc_")]) for name in copied)
    assert not network.trained
    assert not network.training


def test_the_variant_can_be_given(tmp_path, tiny_graph_pcnn, kind):
    torch.save(tiny_graph_pcnn(kind).state_dict(), tmp_path / "state.pth")
    with pytest.raises(ValueError, match="choose a --variant"):
        load(tmp_path / "state.pth")
    assert load(tmp_path / "state.pth", None, (96, 128)).variant.baseline.input_size == (96, 128)
    with pytest.raises(ValueError, match=r"this file is graphpcnn_.*_128x96, you asked for graphpcnn_resnet_50_128x96"):
        load(tmp_path / "state.pth", "graphpcnn_resnet_50_128x96")


def test_a_published_variant_starts_from_a_baselines_checkpoint(tmp_path, monkeypatch):
    from export.families.graph_pcnn.variants import VARIANTS

    monkeypatch.setattr("torch.nn.Module.load_state_dict", lambda *_, **__: None)
    variant = VARIANTS["graphpcnn_resnet_50_128x96"]
    state = entries_of(variant.baseline.architecture)
    assert load_network(Checkpoint(tmp_path / "final_state.pth", state), variant.name).variant == variant
    with pytest.raises(ValueError, match="this file is pose_resnet_50_128x96, you asked for pose_hrnet_w32_128x96"):
        load_network(Checkpoint(tmp_path / "final_state.pth", state), "graphpcnn_hrnet_w32_128x96")


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
        load(tmp_path / NAME)
