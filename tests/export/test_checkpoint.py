"""Reading checkpoints: every format with exact values; all other files are rejected."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export.checkpoint import Checkpoint, exporter_of, load_variant, read_checkpoint  # noqa: E402
from export.families.cigpose import export as cigpose  # noqa: E402
from export.families.graph_pcnn import export as graph_pcnn  # noqa: E402
from export.families.hrnet import export as hrnet  # noqa: E402
from tests.tiny_networks import graph_pcnn_network, heatmap_network  # noqa: E402

pytestmark = pytest.mark.torch


@dataclass(frozen=True)
class Size:
    name: str
    size: int


SIZES = (Size("small", 4), Size("large", 8))
FLAVOURS = ["published_legacy", "published_legacy_numpy1", "runner_epoch", "runner_epoch_legacy", "runner_epoch_numpy1"]


@pytest.fixture(scope="module")
def state():
    return network(4).state_dict()


def network(size):
    torch.manual_seed(size)
    return torch.nn.Sequential(torch.nn.Linear(3, size), torch.nn.BatchNorm1d(size))


def of_size(variant):
    return network(variant.size)


def assert_same(found, state):
    assert list(found) == list(state)
    for name, value in found.items():
        assert torch.equal(value, state[name]), name


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model."])
@pytest.mark.parametrize("wrapped", ["state_dict", "model", ""])
def test_formats_wrappers_and_prefixes(tmp_path, state, zipped, prefix, wrapped):
    entries = {prefix + name: value for name, value in state.items()}
    content = {"meta": {"epoch": 3}, wrapped: entries} if wrapped else entries
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert_same(read_checkpoint(tmp_path / "a.pth").state, state)


def test_the_averaged_weights_are_taken(tmp_path, state):
    raw = {f"module.{name}": torch.zeros_like(value) for name, value in state.items()}
    torch.save({"state_dict": state, "ema_state_dict": {"steps": torch.tensor(7), **raw}}, tmp_path / "a.pth")
    assert_same(read_checkpoint(tmp_path / "a.pth").state, state)


def test_numpy_values_beside_the_weights_are_ignored(tmp_path, state):
    meta = {"sigmas": np.arange(3.0), "best": np.float64(0.5)}
    torch.save({"meta": meta, "state_dict": state}, tmp_path / "a.pth")
    assert_same(read_checkpoint(tmp_path / "a.pth").state, state)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_recorded_files_give_the_recorded_values(flavour, reference):
    with np.load(reference / "checkpoint" / "expected.npz") as arrays:
        expected = {k.removeprefix("state_dict/"): arrays[k] for k in arrays.files if k.startswith("state_dict/")}
    found = read_checkpoint(reference / "checkpoint" / f"{flavour}.pth").state
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name].numpy(), value)


class Evil:
    """Pickles to a call that creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_refers_to_code_is_rejected_unexecuted(tmp_path, state, zipped):
    content = {"meta": Evil(tmp_path / "ran"), "state_dict": state}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        ValueError, match=r"refers to \S*open, which no known checkpoint needs: refused, nothing was run"
    ):
        read_checkpoint(tmp_path / "a.pth")
    assert not (tmp_path / "ran").exists()


class Log:
    """Pickles to a call of getattr, as a trainer's log does."""

    def __reduce__(self):
        return getattr, ("a log", "upper")


def test_the_getattr_of_a_trainers_log_is_ignored(tmp_path, state):
    torch.save({"message_hub": Log(), "state_dict": state}, tmp_path / "a.pth")
    assert list(read_checkpoint(tmp_path / "a.pth").state) == list(state)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, state, zipped, share):
    torch.save({"state_dict": state}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    content = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "a.pth").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match="damaged or incomplete"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html></html>", b"PK\x03\x04 no archive", pickle.dumps([1])])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match="is no PyTorch checkpoint"):
        read_checkpoint(tmp_path / "a.pth")


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
        read_checkpoint(tmp_path / "a.pth")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "a.pth")


def test_names_and_shapes_identify_the_variant(tmp_path):
    for size in SIZES:
        state = network(size.size).state_dict()
        variant, found = load_variant(Checkpoint(tmp_path / "a.pth", state), SIZES, of_size)
        assert variant is size
        assert_same(found.state_dict(), state)
        assert not found.training


def test_the_files_name_or_the_caller_decides_between_equal_variants(tmp_path):
    twins, state = (Size("one", 4), Size("other", 4)), network(4).state_dict()
    for file_name, asked, expected in (
        ("other-1a2b.pth", None, "other"),
        ("other-1a2b.pth", "one", "one"),
        ("weights.pth", None, "one"),
    ):
        assert load_variant(Checkpoint(tmp_path / file_name, state), twins, of_size, asked)[0].name == expected


def test_another_variant_than_asked_for_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"a\.pth: this file is large, you asked for small"):
        load_variant(Checkpoint(tmp_path / "a.pth", network(8).state_dict()), SIZES, of_size, "small")


@pytest.mark.parametrize("asked", [None, "small"])
def test_missing_unknown_and_misshapen_entries_are_listed(tmp_path, asked):
    changed = {**network(4).state_dict(), "extra": torch.zeros(1), "0.weight": torch.zeros(3, 3)}
    del changed["1.bias"]
    with pytest.raises(ValueError, match=r"a\.pth: not the entries of small; ") as caught:
        load_variant(Checkpoint(tmp_path / "a.pth", changed), SIZES, of_size, asked)
    assert "missing: 1.bias; unknown: extra; of another shape: 0.weight (3, 3) instead of (4, 3)" in str(caught.value)


def test_weights_that_hold_nan_are_named(tmp_path):
    state = network(4).state_dict()
    state["0.weight"][1, 2] = torch.nan
    with pytest.raises(
        ValueError, match=r"a\.pth: the weights hold NaN: 0\.weight; take an earlier checkpoint of the training"
    ):
        load_variant(Checkpoint(tmp_path / "a.pth", state), SIZES, of_size)


@pytest.fixture(scope="module")
def of_families(tiny_network):
    """A checkpoint's entries for each family that reads checkpoints."""
    return {
        cigpose: tiny_network().state_dict(),
        hrnet: heatmap_network("hrnet").state_dict(),
        graph_pcnn: graph_pcnn_network("resnet").state_dict(),
    }


def test_entries_identify_the_family_also_when_one_is_missing(tmp_path, of_families):
    for exporter, entries in of_families.items():
        assert exporter_of(Checkpoint(tmp_path, entries)) is exporter
        for missing in exporter.KEYS:
            rest = {name: value for name, value in entries.items() if name != missing}
            assert exporter_of(Checkpoint(tmp_path, rest)) is exporter


def test_the_variant_decides_where_two_families_read_a_checkpoint(tmp_path, state, of_families):
    assert exporter_of(Checkpoint(tmp_path, state), "cigpose-m_coco_256x192") is cigpose
    for variant, exporter in (("pose_hrnet_w32_256x192", hrnet), ("graphpcnn_hrnet_w32_256x192", graph_pcnn)):
        assert exporter_of(Checkpoint(tmp_path, of_families[hrnet]), variant) is exporter
    assert exporter_of(Checkpoint(tmp_path, of_families[hrnet]), "graph_pcnn") is graph_pcnn  # the family's own name
    with pytest.raises(ValueError, match="networks of heatmaps come from ONNX files, not from checkpoints"):
        exporter_of(Checkpoint(tmp_path, state), "heatmaps")


def test_a_checkpoint_of_no_family_is_rejected_with_known_entries(tmp_path, state):
    with pytest.raises(ValueError, match=r"a\.pth: no family has such entries: 0\.weight, .*\. cigpose: backbone"):
        exporter_of(Checkpoint(tmp_path / "a.pth", state))
