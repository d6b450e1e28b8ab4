"""Context-Aware PoseFormer: names, shapes, and equality with the recorded outputs of the official network."""

import copy
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from ensemble.keypoints import keypoint_set  # noqa: E402
from export.families.poseformer.backbones import CpnFeatures, HrnetFeatures  # noqa: E402
from export.families.poseformer.export import example_inputs  # noqa: E402
from export.families.poseformer.forms import FlipTested, HalfBackbone  # noqa: E402
from export.families.poseformer.lifter import sample  # noqa: E402
from export.families.poseformer.network import PoseFormer, build  # noqa: E402
from export.families.poseformer.variants import VARIANTS  # noqa: E402
from tests.tiny_networks import LIFTER_BACKBONES, lifter_network, lifter_variant  # noqa: E402

pytestmark = pytest.mark.torch

FACTS = {  # entries of the state dict, parameters of the lifter: as measured on the official code
    "capf_hrnet_32": (1943, 14_094_147),
    "capf_hrnet_48": (1943, 14_155_587),
    "capf_cpn": (773, 14_233_411),
}
CPN_ENTRIES = {  # number of entries, as measured on the official code
    **{"resnet": 318, "global_net.laterals": 24, "global_net.upsamples": 18, "global_net.predict": 48},
    **{"refine_net.cascade": 144, "refine_net.final_predict": 30},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_published_sizes(name):
    with torch.device("meta"):
        network = PoseFormer(VARIANTS[name])
    lifter = sum(value.numel() for value in network.volume_net.parameters())
    assert (len(network.state_dict()), lifter) == FACTS[name]
    assert sum(value.numel() for value in network.parameters()) == VARIANTS[name].parameters


@pytest.mark.parametrize("name", VARIANTS)
def test_names_order_and_shapes_are_the_official_ones(shared, name):
    path = shared / "reference" / "context_aware_poseformer" / f"{name.removeprefix('capf_')}.json"
    if not path.exists():
        pytest.skip(f"{name} is held back")
    with torch.device("meta"):
        network = PoseFormer(VARIANTS[name])
    found = [[entry, list(value.shape)] for entry, value in network.state_dict().items()]
    assert found == json.loads(path.read_text())


def test_parts_of_cpn():
    with torch.device("meta"):
        names = list(PoseFormer(VARIANTS["capf_cpn"]).backbone.state_dict())
    assert {part: sum(name.startswith(f"{part}.") for name in names) for part in CPN_ENTRIES} == CPN_ENTRIES


@pytest.mark.parametrize("name", ["hrnet_32", "hrnet_48", "cpn"])
def test_equal_to_the_official_network(lifters, name):
    """In float64: float32 alone moves the tokens of noise by 2e-3, the recorded ones as well, and joints by 2e-4."""
    network, inputs, recorded = lifters(name)
    exact, given = copy.deepcopy(network).double(), [value.double() for value in inputs.values()]
    with torch.no_grad():
        maps = exact.backbone(given[0])
        found = {f"feat{level}_s4": features[:, ::8, ::4, ::4] for level, features in enumerate(maps)}
        found |= {"out": exact(*given)[:, None], "out_flip_test": FlipTested(exact, 192).double()(*given)[:, None]}
        tokens = exact.volume_net.with_context(maps, *given[1:])[:1].numpy()
        plain = network(*inputs.values()).numpy()
    for entry, value in found.items():
        np.testing.assert_allclose(value.numpy(), recorded[entry], rtol=0, atol=1e-4, err_msg=entry)
    expected = recorded["context_out_first"]
    np.testing.assert_allclose(tokens, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(plain, recorded["out"][:, 0], rtol=0, atol=3e-4)


def test_coarse_maps_are_the_branches_before_the_first_exchange_of_stage_4():
    network = lifter_network("hrnet")
    seen = {}
    for level in (1, 2, 3):
        branch = network.backbone.stage4[0].branches[level]
        branch.register_forward_hook(lambda _, __, output, level=level: seen.setdefault(level, output.clone()))
    fused = []
    network.backbone.stage4[-1].register_forward_hook(lambda _, __, output: fused.append(output[0]))
    crops = example_inputs(network.variant, 2)["crop"]
    with torch.no_grad():
        maps = network.backbone(crops)
    assert torch.equal(maps[0], fused[0])
    assert all(torch.equal(maps[level], seen[level]) for level in (1, 2, 3))
    assert [tuple(each.shape[1:]) for each in maps] == [(4, 24, 16), (8, 12, 8), (16, 6, 4), (32, 3, 2)]


def test_maps_of_cpn_come_from_coarse_to_fine_at_one_size():
    network = lifter_network("cpn")
    crops = example_inputs(network.variant, 1)["crop"]
    with torch.no_grad():
        maps, levels = network.backbone(crops), network.backbone.global_net(network.backbone.resnet(crops)[::-1])
    assert [tuple(each.shape[1:]) for each in maps] == [(8, 24, 16)] * 4
    assert [tuple(each.shape[2:]) for each in levels] == [(3, 2), (6, 4), (12, 8), (24, 16)]
    torch.testing.assert_close(maps[3], levels[3])  # the finest level passes no bottleneck
    corner = network.backbone.refine_net.cascade[0][:3](levels[0])[..., 0, 0]
    torch.testing.assert_close(maps[0][..., 0, 0], corner)  # scaled up with the corners aligned


@pytest.mark.parametrize("kind", LIFTER_BACKBONES)
def test_every_input_counts(kind):
    network, inputs = lifter_network(kind), example_inputs(lifter_variant(kind), 2)
    with torch.no_grad():
        joints = network(*inputs.values())
        for name in inputs:
            other = network(*(inputs | {name: inputs[name] * 0.5}).values())
            assert (joints - other).abs().max() > 1e-3, name
    assert joints.shape == (2, 17, 3)


@pytest.mark.parametrize(("outside", "expected"), [("zeros", 0.0), ("border", 7.0)])
def test_sampling_outside_the_crop(outside, expected):
    features = torch.arange(8.0).reshape(1, 1, 2, 4)
    points = torch.tensor([[[[-1.0, -1.0], [1.0, 1.0], [-1 / 3, 0.0], [9.0, 9.0]]]])
    assert sample(features, points, outside).ravel().tolist() == pytest.approx([0.0, 7.0, 3.0, expected])


def test_flip_test():
    network, inputs = lifter_network(), example_inputs(lifter_variant(), 2)
    width, partners = network.variant.input_size[0], list(keypoint_set("human36m").flip_indices)
    crop, image, in_crop = inputs.values()
    pixels = (in_crop[..., 0] + 1) * width / 2
    mirrored = torch.stack(((width - pixels - 1) / (width / 2) - 1, in_crop[..., 1]), 2)[:, partners]
    image_mirrored = torch.stack((-image[..., 0], image[..., 1]), 2)[:, partners]
    with torch.no_grad():
        plain = network(crop, image, in_crop)
        other = network(crop.flip(3), image_mirrored, mirrored)[:, partners]
        other[..., 0] *= -1
        found = FlipTested(network, width)(crop, image, in_crop)
    torch.testing.assert_close(found, (plain + other) / 2, rtol=1e-4, atol=1e-4)
    assert (found - plain).abs().max() > 1e-2


def test_half_precision_of_the_backbone_alone():
    network, inputs = lifter_network(), example_inputs(lifter_variant(), 2)
    with torch.no_grad():
        expected, found = network(*inputs.values()), HalfBackbone(network)(*inputs.values())
    assert found.dtype == torch.float32
    assert 0 < float((found - expected).abs().max() / expected.abs().max()) < 0.1
    assert network.backbone.conv1.weight.dtype == torch.float32


def test_new_networks_start_at_the_root():
    torch.manual_seed(0)
    network = build(lifter_variant())
    assert not network.training
    with torch.no_grad():
        assert network(*example_inputs(network.variant, 1).values()).abs().max() < 0.1


def test_backbones_are_chosen_by_the_variant():
    with torch.device("meta"):
        kinds = [type(PoseFormer(variant).backbone) for variant in VARIANTS.values()]
    assert kinds == [HrnetFeatures, HrnetFeatures, CpnFeatures]
