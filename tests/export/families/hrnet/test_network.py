"""The heat-map networks: names, shapes, and equality with the recorded outputs of the official ones."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from ensemble.geometry import TopDownCrop  # noqa: E402
from ensemble.steps.decode_heatmaps import decode_heatmaps  # noqa: E402
from export.families.crops import example_crops  # noqa: E402
from export.families.hrnet.forms import FlipTested, Half  # noqa: E402
from export.families.hrnet.hrnet import HighResolutionNet  # noqa: E402
from export.families.hrnet.network import build, of_architecture  # noqa: E402
from export.families.hrnet.variants import ARCHITECTURES, Hrnet, variant  # noqa: E402
from export.flip import mirrored_columns  # noqa: E402

pytestmark = pytest.mark.torch

NAMES = ["pose_resnet_50", "pose_resnet_101", "pose_resnet_152", "pose_hrnet_w32", "pose_hrnet_w48"]
PUBLISHED = list(zip(ARCHITECTURES, NAMES, strict=True))
FACTS = {  # entries of the state dict, parameters in millions: as measured on the official code
    "pose_resnet_50": (338, 34.00),
    "pose_resnet_101": (644, 52.99),
    "pose_resnet_152": (950, 68.64),
    "pose_hrnet_w32": (1754, 28.54),
    "pose_hrnet_w48": (1754, 63.60),
}


@pytest.mark.parametrize(("architecture", "name"), PUBLISHED)
def test_published_sizes(architecture, name):
    with torch.device("meta"):
        network = of_architecture(architecture, 17)
    parameters = sum(value.numel() for value in network.parameters())
    assert (len(network.state_dict()), round(parameters / 1e6, 2)) == FACTS[name]


@pytest.mark.parametrize(("architecture", "name"), PUBLISHED)
def test_names_order_and_shapes_are_the_official_ones(published_entries, architecture, name):
    with torch.device("meta"):
        network = of_architecture(architecture, 17)
    assert [(entry, tuple(value.shape)) for entry, value in network.state_dict().items()] == published_entries(name)


@pytest.mark.parametrize("name", NAMES)
def test_equal_to_the_official_network(stage1, name):
    network, inputs, recorded = stage1(name)
    with torch.no_grad():
        heatmaps = network(inputs).numpy()
        merged = FlipTested(network, variant(f"{name}_256x192"))(inputs[:1]).numpy()
    for found, expected in ((heatmaps[..., ::4, ::4], recorded["heatmap_s4"]), (merged, recorded["flip_merged"])):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.abs(expected).max())
    keypoints, scores = decode_heatmaps(merged, "quarter")
    np.testing.assert_array_equal(keypoints, recorded["coords_hm"])
    np.testing.assert_allclose(scores, recorded["maxval"][..., 0], rtol=1e-3)
    centers, scales = (recorded[entry].astype(np.float32) for entry in ("center", "scale"))
    placed = TopDownCrop.to_picture(keypoints, (48, 64), centers, 200 * scales)
    np.testing.assert_allclose(placed, recorded["preds_image"], rtol=0, atol=0.01)


@pytest.mark.parametrize("kind", ["resnet", "basic", "hrnet"])
def test_heat_maps_are_a_quarter_of_the_crop(tiny_heatmap_network, tiny_heatmap_variant, kind):
    network, tiny = tiny_heatmap_network(kind), tiny_heatmap_variant(kind)
    with torch.no_grad():
        heatmaps = network(example_crops(tiny, 2))
    assert heatmaps.shape == (2, 17, 24, 16)
    assert heatmaps.flatten(2).std(2).min() > 0


@pytest.mark.parametrize("kind", ["resnet", "basic", "hrnet"])
def test_a_copy_of_the_last_stage_answers_the_same(tiny_heatmap_network, tiny_heatmap_variant, kind):
    """What Graph-PCNN relies on: the shared features may be read twice."""
    network, crops = tiny_heatmap_network(kind), example_crops(tiny_heatmap_variant(kind), 2)
    parts = [getattr(network, name) for name in network.last_stage]
    with torch.no_grad():
        shared = network.shared(crops)
        first, second = (network.final_layer(network.branch(shared, parts)) for _ in range(2))
        assert torch.equal(first, second)
        assert torch.equal(first, network(crops))
        assert network.branch(shared, parts).shape[1] == network.features


def test_stage4_offers_every_resolution(randomized):
    """What LOGO-CAP and Context-Aware PoseFormer take: four fused maps, and the branches before the first exchange."""
    network = randomized(HighResolutionNet(Hrnet(4, (1, 1, 2), blocks=1, stem=8, bottlenecks=1), outputs=4)).eval()
    crops = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = network.before_stage4(crops)
        kept = [value.clone() for value in before]
        fused = network.stage4(before)
        branches = network.stage4[0].run_branches(before)
        again = network.stage4[1](network.stage4[0].fuse(branches))
    shapes = [(1, 4 * 2**level, 16 >> level, 24 >> level) for level in range(4)]
    for maps in (before, fused, branches):
        assert [tuple(value.shape) for value in maps] == shapes
    assert all(torch.equal(*pair) for pair in zip(before, kept, strict=True))
    assert all(torch.equal(*pair) for pair in zip(fused, again, strict=True))
    assert not any(torch.equal(*pair) for pair in zip(branches, before, strict=True))


@pytest.mark.parametrize("shift", [True, False])
def test_flip_test(tiny_heatmap_network, tiny_heatmap_variant, shift):
    network, tiny = tiny_heatmap_network("hrnet"), tiny_heatmap_variant("hrnet")
    crops = example_crops(tiny, 2)
    with torch.no_grad():
        plain, mirrored = network(crops).numpy(), network(crops.flip(3)).numpy()
        found = FlipTested(network, tiny, shift)(crops).numpy()
    back = mirrored[..., ::-1].copy()
    for left in range(1, 17, 2):
        back[:, [left, left + 1]] = back[:, [left + 1, left]]
    if shift:
        back[..., 1:] = back[..., :-1].copy()
    np.testing.assert_allclose(found, (plain + back) / 2, atol=1e-4 * np.abs(plain).max())


def test_columns_of_a_mirrored_map():
    assert list(mirrored_columns(4, shift=False)) == [3, 2, 1, 0]
    assert list(mirrored_columns(4, shift=True)) == [3, 3, 2, 1]


def test_new_networks_start_with_flat_maps(tiny_heatmap_variant):
    torch.manual_seed(0)
    tiny = tiny_heatmap_variant("resnet")
    network = build(tiny)
    assert not network.training
    with torch.no_grad():
        assert network(example_crops(tiny, 1)).abs().max() < 0.1


@pytest.mark.parametrize("kind", ["resnet", "hrnet"])
def test_half_precision_between_float32_ends(tiny_heatmap_network, tiny_heatmap_variant, kind):
    network, crops = tiny_heatmap_network(kind), example_crops(tiny_heatmap_variant(kind), 2)
    with torch.no_grad():
        expected, found = network(crops), Half(network)(crops)
    assert found.dtype == torch.float32
    assert 0 < float((found - expected).abs().max() / expected.abs().max()) < 0.05
    assert network.conv1.weight.dtype == torch.float32
