"""Recognition and strict loading of CIGPose checkpoints."""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export.checkpoint import read_checkpoint  # noqa: E402
from export.families.cigpose.checkpoint import load_network, recognise  # noqa: E402
from export.families.cigpose.network import CigPose  # noqa: E402
from export.families.cigpose.variants import VARIANTS  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def state(tiny_network):
    return tiny_network().state_dict()


def load(path, variant=None):
    return load_network(read_checkpoint(path), variant)


def test_the_network_holds_the_weights(tmp_path, tiny_variant, state):
    torch.save(state, tmp_path / "a.pth")
    network = load(tmp_path / "a.pth", tiny_variant())
    assert not network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), name


def shapes_of(variant):
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in CigPose(variant).state_dict().items()}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_recognised(name):
    found = [variant.name for variant in recognise(shapes_of(VARIANTS[name]))]
    assert name in found
    assert len({entry.replace("ubody", "wholebody") for entry in found}) == 1


@pytest.fixture
def small_body_file(tmp_path):
    """A file with the shapes of a published variant; all entries are zero and share one storage."""
    shapes = shapes_of(VARIANTS["cigpose-m_crowdpose_256x192"])
    return save_zeros(tmp_path / "a.pth", shapes)


def save_zeros(path, shapes):
    storage = torch.zeros(1)
    torch.save({name: storage.expand(shape) if shape else storage[0] for name, shape in shapes.items()}, path)
    return path


def test_the_variant_may_be_left_out(small_body_file):
    assert load(small_body_file).variant.name == "cigpose-m_crowdpose_256x192"


def test_a_wrong_variant_is_named(small_body_file):
    with pytest.raises(
        ValueError, match=r"this file is cigpose-m_crowdpose_256x192, you asked for cigpose-m_coco_256x192"
    ):
        load(small_body_file, VARIANTS["cigpose-m_coco_256x192"])


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [("weights.pth", "cigpose-l_coco-wholebody_256x192"), ("cigpose-l_coco-ubody_256x192-1a2b.pth",) * 2],
)
def test_the_file_name_decides_between_equal_shapes(tmp_path, file_name, expected):
    path = save_zeros(tmp_path / file_name, shapes_of(VARIANTS["cigpose-l_coco-ubody_256x192"]))
    assert expected.startswith(load(path).variant.name)
    for data in ("wholebody", "ubody"):  # both are accepted as the expected variant
        asked = VARIANTS[f"cigpose-l_coco-{data}_256x192"]
        assert load(path, asked).variant == asked


def test_an_unpublished_size_needs_its_variant(tmp_path, state, tiny_variant):
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"no published variant has this architecture.*keypoints=17"):
        load(tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"this file is unpublished.*you asked for cigpose-m_coco_256x192"):
        load(tmp_path / "a.pth", VARIANTS["cigpose-m_coco_256x192"])


def test_missing_unknown_and_misshapen_entries_are_listed(tmp_path, state, tiny_variant):
    changed = {**state, "head.extra": torch.zeros(1), "head.gau.gamma": torch.zeros(3, 3)}
    del changed["head.cls_x.weight"]
    torch.save(changed, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth: not the entries of tiny-coco") as caught:
        load(tmp_path / "a.pth", tiny_variant())
    assert "missing: head.cls_x.weight" in str(caught.value)
    assert "unknown: head.extra" in str(caught.value)
    assert "of another shape: head.gau.gamma (3, 3) instead of (2, 8)" in str(caught.value)


def test_weights_of_another_network_are_no_cigpose(tmp_path):
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"not a CIGPose network.*it has conv1\.weight"):
        load(tmp_path / "a.pth")
