"""The forms that export adds: flip test and float16 convolutions."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from ensemble.keypoints import keypoint_set  # noqa: E402
from ensemble.steps.decode_simcc import decode_simcc  # noqa: E402
from export.families.cigpose.forms import FlipTested, HalfBackbone  # noqa: E402
from export.families.crops import example_crops  # noqa: E402

pytestmark = pytest.mark.torch

LOGITS = 5e-3  # see test_network.py


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def test_the_flip_test_averages_with_the_mirror_image(tiny_network):
    network = tiny_network("coco")
    crops = example_crops(network.variant, 2)
    plain, mirrored = network(crops), network(crops.flip(3))
    partners = list(keypoint_set("coco").flip_indices)
    expected_x = (plain[0] + mirrored[0][:, partners].flip(2)) / 2
    expected_y = (plain[1] + mirrored[1][:, partners]) / 2
    found = FlipTested(network, "coco")(crops)
    torch.testing.assert_close(found, (expected_x, expected_y), atol=1e-4, rtol=1e-4)


def test_a_mirrored_crop_gives_the_mirrored_answer(tiny_network):
    network = tiny_network("coco_wholebody")
    form, partners = FlipTested(network, "coco_wholebody"), list(keypoint_set("coco_wholebody").flip_indices)
    crops = example_crops(network.variant, 2)
    (x, y), (mirrored_x, mirrored_y) = form(crops), form(crops.flip(3))
    torch.testing.assert_close(mirrored_x[:, partners].flip(2), x, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(mirrored_y[:, partners], y, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "cigpose-m_coco-wholebody_256x192",
        "cigpose-l_coco-wholebody_384x288",
        "cigpose-l_coco-ubody_256x192",
        "cigpose-m_coco_256x192",
        "cigpose-m_crowdpose_256x192",
    ],
)
def test_the_flip_test_equals_the_recorded_outputs(name, golden):
    network, crops, recorded = golden(name)
    simcc_x, simcc_y = (rows.numpy() for rows in FlipTested(network, network.variant.keypoint_set)(crops))
    keypoints, scores = decode_simcc(simcc_x, simcc_y)
    sure = np.minimum(margins(simcc_x), margins(simcc_y)) > LOGITS
    assert sure.mean() > 0.95
    np.testing.assert_allclose(scores, recorded["scores_flip"], atol=LOGITS)
    np.testing.assert_array_equal(keypoints[sure] / 2, recorded["keypoints_flip"][sure])


def margins(rows):
    best = np.sort(rows, axis=2)
    return best[..., -1] - best[..., -2]


def test_only_the_convolutions_are_float16(tiny_network):
    network = tiny_network()
    form = HalfBackbone(network)
    assert {parameter.dtype for parameter in form.backbone.parameters()} == {torch.float16}
    assert {parameter.dtype for parameter in form.head.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert not form.training
    stages = form.stages(example_crops(network.variant, 2))
    assert {stage.dtype for stage in stages} == {torch.float32, torch.bool}


def test_float16_convolutions_change_little(tiny_network):
    network = tiny_network()
    crops = example_crops(network.variant, 4)
    expected, found = network.stages(crops).heatmaps, HalfBackbone(network).stages(crops).heatmaps
    assert 0 < (found - expected).abs().max() < 0.02 * expected.std()
