"""Recognition and strict loading of CIGPose checkpoints."""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export.checkpoint import load_variant, read_checkpoint  # noqa: E402
from export.families.cigpose.network import CigPose  # noqa: E402
from export.families.cigpose.variants import VARIANTS  # noqa: E402

pytestmark = pytest.mark.torch


def load(path, asked=None):
    return load_variant(read_checkpoint(path), VARIANTS.values(), CigPose, asked)[1]


def shapes_of(variant):
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in CigPose(variant).state_dict().items()}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_recognised(name, tmp_path):
    found = load(save_zeros(tmp_path / "a.pth", shapes_of(VARIANTS[name])))
    assert found.variant.name == name.replace("ubody", "wholebody")  # the same architecture, other training data
    assert not found.training


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
        load(small_body_file, "cigpose-m_coco_256x192")


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [("weights.pth", "cigpose-l_coco-wholebody_256x192"), ("cigpose-l_coco-ubody_256x192-1a2b.pth",) * 2],
)
def test_the_file_name_decides_between_equal_shapes(tmp_path, file_name, expected):
    path = save_zeros(tmp_path / file_name, shapes_of(VARIANTS["cigpose-l_coco-ubody_256x192"]))
    assert expected.startswith(load(path).variant.name)
    for data in ("wholebody", "ubody"):  # and either is accepted when asked for
        asked = f"cigpose-l_coco-{data}_256x192"
        assert load(path, asked).variant.name == asked


def test_an_unpublished_architecture_is_refused_with_what_differs(tmp_path, tiny_network):
    torch.save(tiny_network("crowdpose", gcn_layers=2).state_dict(), tmp_path / "a.pth")
    for asked in (None, "cigpose-m_crowdpose_256x192"):
        with pytest.raises(ValueError, match=r"a\.pth: not the entries of cigpose-m_crowdpose_256x192; ") as caught:
            load(tmp_path / "a.pth", asked)
        assert "of another shape: backbone.stem.0.conv.weight (4, 3, 3, 3) instead of (24, 3, 3, 3)" in str(
            caught.value
        )
