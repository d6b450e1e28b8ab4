"""Reading checkpoints: every flavour, exact values, and refusal of everything else."""

import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export.checkpoint import load_network, read_state_dict, recognise  # noqa: E402
from export.families.cigpose.network import CigPose  # noqa: E402
from export.families.cigpose.variants import VARIANTS  # noqa: E402

pytestmark = pytest.mark.torch

FLAVOURS = ["published_legacy", "published_legacy_numpy1", "runner_epoch", "runner_epoch_legacy", "runner_epoch_numpy1"]


@pytest.fixture(scope="module")
def state(tiny_network):
    return tiny_network().state_dict()


def shapes_of(variant):
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in CigPose(variant).state_dict().items()}


def assert_same(network, state):
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), name


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model."])
@pytest.mark.parametrize("wrapped", [True, False])
def test_formats_wrappers_and_prefixes(tmp_path, tiny_variant, state, zipped, prefix, wrapped):
    entries = {prefix + name: value for name, value in state.items()}
    content = {"meta": {"epoch": 3}, "state_dict": entries} if wrapped else entries
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    network = load_network(tmp_path / "a.pth", tiny_variant())
    assert_same(network, state)
    assert not network.training


def test_the_averaged_weights_are_taken(tmp_path, tiny_variant, state):
    raw = {f"module.{name}": torch.zeros_like(value) for name, value in state.items()}
    torch.save({"state_dict": state, "ema_state_dict": {"steps": torch.tensor(7), **raw}}, tmp_path / "a.pth")
    assert_same(load_network(tmp_path / "a.pth", tiny_variant()), state)


def test_numpy_values_beside_the_weights_do_no_harm(tmp_path, tiny_variant, state):
    meta = {"sigmas": np.arange(3.0), "best": np.float64(0.5)}
    torch.save({"meta": meta, "state_dict": state}, tmp_path / "a.pth")
    assert_same(load_network(tmp_path / "a.pth", tiny_variant()), state)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_recorded_files_give_the_recorded_values(flavour, reference):
    with np.load(reference / "checkpoint" / "expected.npz") as arrays:
        expected = {k.removeprefix("state_dict/"): arrays[k] for k in arrays.files if k.startswith("state_dict/")}
    found = read_state_dict(reference / "checkpoint" / f"{flavour}.pth")
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name].numpy(), value)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_recognised(name):
    found = [variant.name for variant in recognise(shapes_of(VARIANTS[name]))]
    assert name in found
    assert len({entry.replace("ubody", "wholebody") for entry in found}) == 1


@pytest.fixture
def small_body_file(tmp_path):
    """A file with the shapes of a published variant (and nothing but zeros in one shared storage)."""
    shapes = shapes_of(VARIANTS["cigpose-m_crowdpose_256x192"])
    return save_zeros(tmp_path / "a.pth", shapes)


def save_zeros(path, shapes):
    storage = torch.zeros(1)
    torch.save({name: storage.expand(shape) if shape else storage[0] for name, shape in shapes.items()}, path)
    return path


def test_the_variant_may_be_left_out(small_body_file):
    assert load_network(small_body_file).variant.name == "cigpose-m_crowdpose_256x192"


def test_a_wrong_variant_is_named(small_body_file):
    with pytest.raises(
        ValueError, match=r"this file is cigpose-m_crowdpose_256x192, you asked for cigpose-m_coco_256x192"
    ):
        load_network(small_body_file, VARIANTS["cigpose-m_coco_256x192"])


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [("weights.pth", "cigpose-l_coco-wholebody_256x192"), ("cigpose-l_coco-ubody_256x192-1a2b.pth",) * 2],
)
def test_what_shapes_cannot_tell_apart_the_file_name_does(tmp_path, file_name, expected):
    path = save_zeros(tmp_path / file_name, shapes_of(VARIANTS["cigpose-l_coco-ubody_256x192"]))
    assert expected.startswith(load_network(path).variant.name)
    for data in ("wholebody", "ubody"):  # and either is accepted when asked for
        asked = VARIANTS[f"cigpose-l_coco-{data}_256x192"]
        assert load_network(path, asked).variant == asked


def test_an_unpublished_size_needs_its_variant(tmp_path, state, tiny_variant):
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"no published variant has this architecture.*keypoints=17"):
        load_network(tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"this file is unpublished.*you asked for cigpose-m_coco_256x192"):
        load_network(tmp_path / "a.pth", VARIANTS["cigpose-m_coco_256x192"])


def test_missing_unknown_and_misshapen_entries_are_listed(tmp_path, state, tiny_variant):
    changed = {**state, "head.extra": torch.zeros(1), "head.gau.gamma": torch.zeros(3, 3)}
    del changed["head.cls_x.weight"]
    torch.save(changed, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth: not the entries of tiny-coco") as caught:
        load_network(tmp_path / "a.pth", tiny_variant())
    assert "missing: head.cls_x.weight" in str(caught.value)
    assert "unknown: head.extra" in str(caught.value)
    assert "of another shape: head.gau.gamma (3, 3) instead of (2, 8)" in str(caught.value)


def test_weights_of_another_network_are_no_cigpose(tmp_path):
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"not a CIGPose network.*it has conv1\.weight"):
        load_network(tmp_path / "a.pth")


class Evil:
    """Pickles to a call that would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_runs_code_is_refused_and_nothing_runs(tmp_path, state, zipped):
    content = {"meta": Evil(tmp_path / "ran"), "state_dict": state}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        ValueError, match=r"refers to \S*open, which no CIGPose checkpoint needs: refused, nothing was run"
    ):
        read_state_dict(tmp_path / "a.pth")
    assert not (tmp_path / "ran").exists()


class Log:
    """Pickles to a call of getattr, as a trainer's log does."""

    def __reduce__(self):
        return getattr, ("a log", "upper")


def test_the_getattr_of_a_trainers_log_does_no_harm(tmp_path, state):
    torch.save({"message_hub": Log(), "state_dict": state}, tmp_path / "a.pth")
    assert list(read_state_dict(tmp_path / "a.pth")) == list(state)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, state, zipped, share):
    torch.save({"state_dict": state}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    content = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "a.pth").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match="damaged or incomplete"):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html></html>", b"PK\x03\x04 no archive", pickle.dumps([1])])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match="is no PyTorch checkpoint"):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds no state_dict"),
        ({"state_dict": {}}, "holds no state_dict"),
        ({"epoch": 3}, "not tensors: epoch"),
    ],
)
def test_a_checkpoint_without_weights_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=message):
        read_state_dict(tmp_path / "a.pth")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_state_dict(tmp_path / "a.pth")
