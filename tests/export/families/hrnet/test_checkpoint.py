"""Reading checkpoints: official names in every flavour, and what is wrong is named."""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export.checkpoint import Checkpoint, read_checkpoint  # noqa: E402
from export.families.hrnet.checkpoint import load_network  # noqa: E402
from export.families.hrnet.network import of_architecture  # noqa: E402
from export.families.hrnet.variants import VARIANTS  # noqa: E402

pytestmark = pytest.mark.torch

NAME = "mine_96x64.pth"


@pytest.fixture(params=["resnet", "basic", "hrnet"])
def kind(request):
    return request.param


@pytest.fixture
def state(tiny_heatmap_network, kind):
    return tiny_heatmap_network(kind).state_dict()


def load(path, *arguments):
    return load_network(read_checkpoint(path), *arguments)


def assert_same(network, state):
    assert network.state_dict().keys() == state.keys()
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), name


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapped", [True, False])
def test_flavours(tmp_path, state, tiny_heatmap_variant, kind, prefix, wrapped):
    entries = {prefix + name: value for name, value in state.items()}
    content = {"epoch": 210, "perf": 0.744, "state_dict": entries} if wrapped else entries
    torch.save(content, tmp_path / NAME)
    variant, network = load(tmp_path / NAME)
    assert_same(network, state)
    assert not network.training
    assert variant == tiny_heatmap_variant(kind)


def entries_of(architecture):
    """Entries of the right names and shapes; the weights are one number, seen through every shape."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in of_architecture(architecture, 17).state_dict().items()}
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_variant_is_known_by_the_file_name_the_size_or_asked_for(tmp_path, name, monkeypatch):
    state = entries_of(VARIANTS[name].architecture)
    monkeypatch.setattr("torch.nn.Module.load_state_dict", lambda *_, **__: None)
    named, unnamed = (Checkpoint(tmp_path / file, state) for file in (f"{name}.pth.tar", "final_state.pth"))
    assert load_network(named)[0] is VARIANTS[name]
    assert load_network(unnamed, name)[0] is VARIANTS[name]
    assert load_network(unnamed, size=VARIANTS[name].input_size)[0] is VARIANTS[name]


def test_a_file_that_states_no_crop_size(tmp_path, state, tiny_heatmap_variant, kind):
    torch.save(state, tmp_path / "final_state.pth")
    with pytest.raises(ValueError, match=r"final_state\.pth: .* hold no crop size .*; choose a --variant, or call"):
        load(tmp_path / "final_state.pth")
    asked = tiny_heatmap_variant(kind, input_size=(96, 128))
    assert load(tmp_path / "final_state.pth", None, (96, 128))[0] == asked


def damaged(state, change):
    name = next(name for name in state if name.startswith("layer1.0.conv2"))
    entries = dict(state)
    if change == "missing":
        del entries[name]
    elif change == "unknown":
        entries["head.weight"] = torch.zeros(3)
        name = "head.weight"
    else:
        entries[name] = torch.zeros(7, 8, 3, 3)
        name = f"{name} (7, 8, 3, 3) instead of "
    return entries, name


@pytest.mark.parametrize("change", ["missing", "unknown", "of another shape"])
def test_what_does_not_fit_is_named(tmp_path, state, change):
    entries, name = damaged(state, change)
    torch.save(entries, tmp_path / NAME)
    with pytest.raises(ValueError) as caught:
        load(tmp_path / NAME)
    assert f"{NAME}: not the entries of pose_" in str(caught.value)
    assert f"; {change}: {name}" in str(caught.value)
    assert str(caught.value).count(",") < 8  # nothing else is named


@pytest.mark.parametrize("entry", ["conv1.weight", "final_layer.weight", "final_layer.bias", "layer1.0.bn1.bias"])
@pytest.mark.parametrize("name", ["pose_resnet_101_256x192", "pose_hrnet_w48_256x192"])
def test_one_wrong_entry_of_a_published_network_is_named(tmp_path, name, entry):
    state = entries_of(VARIANTS[name].architecture)
    for wrong in ({**state, entry: state[entry][None]}, {key: state[key] for key in state if key != entry}):
        for asked in (None, name):
            with pytest.raises(
                ValueError, match=rf"not the entries of {name}; (missing|of another shape): {entry}( |$)"
            ):
                load_network(Checkpoint(tmp_path / f"{name}.pth", wrong), asked)


def test_another_architecture_than_asked_for(tmp_path, state):
    torch.save(state, tmp_path / NAME)
    with pytest.raises(ValueError, match=r"this file is pose_(resnet|hrnet)_\w+, you asked for pose_hrnet_w32_256x192"):
        load(tmp_path / NAME, "pose_hrnet_w32_256x192")


def test_what_is_no_heat_map_network(tmp_path):
    torch.save({"backbone.stem.0.conv.weight": torch.zeros(3)}, tmp_path / NAME)
    with pytest.raises(ValueError, match=r"not the entries of pose_.*; missing: conv1\.weight, .*; unknown: backbone"):
        load(tmp_path / NAME, "pose_hrnet_w32_256x192")


def test_another_number_of_keypoints(tmp_path, tiny_heatmap_variant):
    mpii = of_architecture(tiny_heatmap_variant("resnet").architecture, 16)
    torch.save(mpii.state_dict(), tmp_path / NAME)
    with pytest.raises(ValueError, match="no keypoint set has 16 points"):
        load(tmp_path / NAME)
    crowd = of_architecture(tiny_heatmap_variant("resnet").architecture, 14)
    torch.save(crowd.state_dict(), tmp_path / NAME)
    assert load(tmp_path / NAME)[0].keypoint_set == "crowdpose"
