"""Reading checkpoints: official names in every flavour, and what is wrong is named."""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export.checkpoint import Checkpoint  # noqa: E402
from export.families.hrnet.checkpoint import load_network, recognise, shapes_of  # noqa: E402
from export.families.hrnet.network import of_architecture  # noqa: E402
from export.families.hrnet.variants import ARCHITECTURES, VARIANTS, variant  # noqa: E402

pytestmark = pytest.mark.torch

NAME = "mine_96x64.pth"


@pytest.fixture(params=["resnet", "basic", "hrnet"])
def kind(request):
    return request.param


@pytest.fixture
def state(tiny_heatmap_network, kind):
    return tiny_heatmap_network(kind).state_dict()


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
    loaded = load_network(tmp_path / NAME)
    assert_same(loaded.network, state)
    assert not loaded.network.training
    assert loaded.variant == tiny_heatmap_variant(kind)


def entries_of(architecture):
    with torch.device("meta"):
        return shapes_of(of_architecture(architecture, 17).state_dict())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_published_architectures_are_recognised(architecture):
    shapes = entries_of(architecture)
    assert recognise(shapes)[0] == architecture
    damaged = {name: shape for name, shape in shapes.items() if not name.startswith(("conv1", "transition1.0"))}
    assert recognise(damaged)[0] == architecture


@pytest.mark.parametrize("name", VARIANTS)
def test_the_variant_is_known_by_the_file_name_or_asked_for(tmp_path, name, monkeypatch):
    """Only names and shapes matter here, so the weights are one number, seen through every shape."""
    shapes = entries_of(VARIANTS[name].architecture)
    state = {entry: torch.zeros(()).expand(shape) for entry, shape in shapes.items()}
    monkeypatch.setattr("export.families.hrnet.checkpoint.read_checkpoint", lambda path: Checkpoint(path, state))
    with monkeypatch.context() as patch:
        patch.setattr("torch.nn.Module.load_state_dict", lambda *_, **__: None)
        assert load_network(tmp_path / f"{name}.pth.tar").variant is VARIANTS[name]
        assert load_network(tmp_path / "final_state.pth", VARIANTS[name]).variant is VARIANTS[name]


def test_a_file_that_states_no_crop_size(tmp_path, state, tiny_heatmap_variant, kind):
    torch.save(state, tmp_path / "final_state.pth")
    with pytest.raises(
        ValueError, match=r"final_state\.pth: .* hold no crop size .* say it with --variant, such as pose_"
    ):
        load_network(tmp_path / "final_state.pth")
    asked = tiny_heatmap_variant(kind, input_size=(96, 128))
    assert load_network(tmp_path / "final_state.pth", asked).variant.input_size == (96, 128)


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
        load_network(tmp_path / NAME)
    assert f"{NAME}: not the entries of a " in str(caught.value)
    assert f"; {change}: {name}" in str(caught.value)
    assert str(caught.value).count(",") < 8  # nothing else is named


@pytest.mark.parametrize("entry", ["conv1.weight", "final_layer.weight", "final_layer.bias", "layer1.0.bn1.bias"])
@pytest.mark.parametrize("name", ["pose_resnet_101_256x192", "pose_hrnet_w48_256x192"])
def test_one_wrong_entry_of_a_published_network_is_named(tmp_path, monkeypatch, name, entry):
    shapes = entries_of(VARIANTS[name].architecture)
    for wrong in ({**shapes, entry: (1, *shapes[entry])}, {key: shapes[key] for key in shapes if key != entry}):
        state = {key: torch.zeros(()).expand(shape) for key, shape in wrong.items()}
        monkeypatch.setattr(
            "export.families.hrnet.checkpoint.read_checkpoint", lambda path, state=state: Checkpoint(path, state)
        )
        for asked in (None, variant(name)):
            with pytest.raises(
                ValueError, match=rf"not the entries of a \w+; (missing|of another shape): {entry}( |$)"
            ):
                load_network(tmp_path / f"{name}.pth", asked)


def test_another_architecture_than_asked_for(tmp_path, state):
    torch.save(state, tmp_path / NAME)
    with pytest.raises(ValueError, match=r"this file is a (resnet|hrnet)_\w+, you asked for pose_hrnet_w32_256x192"):
        load_network(tmp_path / NAME, VARIANTS["pose_hrnet_w32_256x192"])


def test_what_is_no_heat_map_network(tmp_path):
    torch.save({"backbone.stem.0.conv.weight": torch.zeros(3)}, tmp_path / NAME)
    with pytest.raises(ValueError, match="neither an HRNet nor a SimpleBaseline; it has backbone"):
        load_network(tmp_path / NAME)


def test_another_number_of_keypoints(tmp_path, tiny_heatmap_variant):
    mpii = of_architecture(tiny_heatmap_variant("resnet").architecture, 16)
    torch.save(mpii.state_dict(), tmp_path / NAME)
    with pytest.raises(ValueError, match="no keypoint set has 16 points"):
        load_network(tmp_path / NAME)
    crowd = of_architecture(tiny_heatmap_variant("resnet").architecture, 14)
    torch.save(crowd.state_dict(), tmp_path / NAME)
    assert load_network(tmp_path / NAME).variant.keypoint_set == "crowdpose"
