"""Both stages: what stage 2 may and may not change, the flip test, and the same answers in ONNX Runtime."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from ensemble.steps.decode_heatmaps import decode_heatmaps  # noqa: E402
from export.families.crops import example_crops  # noqa: E402
from export.families.graph_pcnn.forms import FlipTested  # noqa: E402
from export.families.graph_pcnn.network import GraphPcnn, new, on_top_of  # noqa: E402
from export.families.graph_pcnn.refinement import sample  # noqa: E402
from export.families.graph_pcnn.variants import NO_WEIGHTS, VARIANTS, Variant  # noqa: E402
from export.families.hrnet.forms import FlipTested as FlipTestedMaps  # noqa: E402
from export.families.hrnet.network import build, of_architecture  # noqa: E402
from export.families.hrnet.variants import variant as baseline_variant  # noqa: E402

pytestmark = pytest.mark.torch

KINDS = ["resnet", "basic", "hrnet"]
BRANCH_B = {  # parameters in millions and entries that stage 2 has twice, as measured on the official code
    "resnet_50": 25.45,
    "resnet_101": 25.45,
    "resnet_152": 25.45,
    "hrnet_w32": 20.41,
    "hrnet_w48": 45.89,
}


def crops_for(network, count, seed=0):
    return example_crops(network.variant.baseline, count, seed)


def baseline_of(network):
    """The heat-map network alone, with the weights that it has in stage 1."""
    variant = network.variant.baseline
    baseline = build(variant)
    names = baseline.state_dict().keys()
    baseline.load_state_dict({name: value for name, value in network.state_dict().items() if name in names})
    return baseline


def run(module, crops):
    with torch.no_grad():
        return [value.numpy() for value in module(crops)]


@pytest.mark.parametrize("name", VARIANTS)
def test_names_and_sizes(name):
    variant = VARIANTS[name]
    with torch.device("meta"):
        baseline = of_architecture(variant.baseline.architecture, 17)
        expected = list(baseline.state_dict())
        network = GraphPcnn(variant, baseline)
    names = list(network.state_dict())
    assert names[: len(expected)] == expected
    copied = {entry for entry in names if entry.startswith("loc_")}
    last = ("layer4.", "deconv_layers.") if "resnet" in name else ("stage4.",)
    assert copied == {f"loc_{entry}" for entry in expected if entry.startswith(last)}
    assert {entry.split(".")[0] for entry in names[len(expected) :]} - {"gpr", "fc", "cls", "reg"} == {
        f"loc_{part[:-1]}" for part in last
    }
    parameters = sum(value.numel() for key, value in network.named_parameters() if key in copied)
    assert round(parameters / 1e6, 2) == BRANCH_B[variant.baseline.architecture.name]
    channels = 256 if "resnet" in name else variant.baseline.architecture.width
    assert network.gpr.weight.shape == (17 + 2 * 19, 128, channels)


def test_published_figures():
    figures = {name: entry.average_precision for name, entry in VARIANTS.items() if entry.average_precision}
    assert len(VARIANTS) == 15
    assert figures == {
        **{
            "graphpcnn_resnet_50_128x96": 64.6,
            "graphpcnn_resnet_50_256x192": 72.6,
            "graphpcnn_resnet_50_384x288": 73.6,
        },
        **{"graphpcnn_resnet_101_128x96": 64.8, "graphpcnn_resnet_152_128x96": 66.1},
        **{
            "graphpcnn_hrnet_w32_128x96": 71.5,
            "graphpcnn_hrnet_w32_256x192": 76.2,
            "graphpcnn_hrnet_w32_384x288": 77.2,
        },
        **{"graphpcnn_hrnet_w48_128x96": 72.8},
    }
    assert "no public weights" in NO_WEIGHTS


@pytest.mark.parametrize("kind", KINDS)
def test_stage1_is_the_baseline(tiny_graph_pcnn, kind):
    network = tiny_graph_pcnn(kind)
    crops = crops_for(network, 3)
    with torch.no_grad():
        heatmaps = baseline_of(network)(crops)
        assert torch.equal(network.maps(crops)[0], heatmaps)
    keypoints, scores = decode_heatmaps(heatmaps.numpy(), "quarter")
    refined, coarse, found = run(network, crops)
    np.testing.assert_array_equal(coarse, keypoints)
    np.testing.assert_array_equal(found, scores)
    assert np.abs(refined - coarse).max() > 0.1


def test_equal_to_the_official_baseline(stage1):
    baseline, inputs, recorded = stage1("pose_hrnet_w32")
    network = on_top_of(baseline, Variant("golden", baseline_variant("pose_hrnet_w32_256x192")))
    _, coarse, scores = run(FlipTested(network), inputs[:1])
    np.testing.assert_array_equal(coarse, recorded["coords_hm"])
    np.testing.assert_allclose(scores, recorded["maxval"][..., 0], rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_from_a_baseline_both_branches_are_copied_and_points_stay(tiny_heatmap_network, tiny_heatmap_variant, kind):
    baseline = tiny_heatmap_network(kind)
    before = {name: value.clone() for name, value in baseline.state_dict().items()}
    network = on_top_of(baseline, Variant("new", tiny_heatmap_variant(kind)))
    state = network.state_dict()
    for name, value in before.items():
        assert torch.equal(state[name], value)
        assert name.split(".")[0] not in baseline.last_stage or torch.equal(state[f"loc_{name}"], value)
    for form in (network, FlipTested(network)):
        refined, coarse, _ = run(form, crops_for(network, 2))
        np.testing.assert_array_equal(refined, coarse)
    with torch.no_grad():  # weights of its own
        for value in network.parameters():
            value.zero_()
    assert all(torch.equal(value, before[name]) for name, value in baseline.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_stage2_does_not_touch_stage1(tiny_graph_pcnn, kind):
    network = tiny_graph_pcnn(kind)
    crops = crops_for(network, 2)
    refined, coarse, scores = run(network, crops)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.startswith(("loc_", "gpr", "fc", "reg")):
                value.mul_(1.5)
    changed = run(network, crops)
    np.testing.assert_array_equal(changed[1], coarse)
    np.testing.assert_array_equal(changed[2], scores)
    assert np.abs(changed[0] - refined).max() > 0.1


def test_above_every_maximum_the_gate_leaves_the_graph_out(tiny_graph_pcnn):
    full, closed, none = (tiny_graph_pcnn(**changes) for changes in ({}, {"reliable": 1e9}, {"graph": "none"}))
    crops = crops_for(full, 4)
    scores = run(full, crops)[2]
    assert 0.1 < (scores > 0.85).mean() < 0.9
    np.testing.assert_array_equal(run(closed, crops)[0], run(none, crops)[0])
    assert np.abs(run(full, crops)[0] - run(none, crops)[0]).max() > 1e-3


def test_weights_of_neighbours(tiny_graph_pcnn):
    heat, reliable = torch.tensor([[0.9, 0.2, 1.1]]), torch.tensor([[True, False, True]])
    weights = {
        graph: tiny_graph_pcnn(graph=graph).neighbour_weights(heat, reliable) for graph in ("full", "ones", "none")
    }
    expected = {"full": [[0.9, 0, 1.1]], "ones": [[1, 1, 1]], "none": [[0, 0, 0]]}
    for graph, values in expected.items():
        torch.testing.assert_close(weights[graph], torch.tensor(values, dtype=torch.float32))
    with pytest.raises(ValueError, match="unknown graph 'all'; known: full, ones, none"):
        tiny_graph_pcnn(graph="all")


def test_stage2_answers_where_the_guided_points_are(tiny_graph_pcnn):
    """The offset of an untouched keypoint depends on the features around its own point and its neighbours'."""
    network = tiny_graph_pcnn()
    with torch.no_grad():
        heatmaps, features = network.maps(crops_for(network, 1))
        scores, points = torch.full((1, 17), 0.9), torch.full((1, 17, 2), 5.0)
        plain = network.offsets(features, points, scores)
        points[0, 15] += 3  # left ankle: its only neighbour is the left knee
        moved = (network.offsets(features, points, scores) - plain)[0].abs().amax(1) > 1e-6
    assert heatmaps.shape == (1, 17, 24, 16)
    assert torch.nonzero(moved).flatten().tolist() == [13, 15]


@pytest.mark.parametrize("kind", KINDS)
def test_flip_test(tiny_graph_pcnn, kind):
    network = tiny_graph_pcnn(kind)
    crops = crops_for(network, 2)
    refined, coarse, scores = run(FlipTested(network), crops)
    with torch.no_grad():
        heatmaps = FlipTestedMaps(baseline_of(network), network.variant.baseline)(crops)
        expected, maxima = decode_heatmaps(heatmaps.numpy(), "quarter")
        np.testing.assert_array_equal(coarse, expected)
        np.testing.assert_array_equal(scores, maxima)
        swapped = [0, *(left + 1 - 2 * (left % 2 == 0) for left in range(1, 17))]
        across = coarse[:, swapped].copy()
        across[..., 0] = (64 - 1) / 4 - across[..., 0]
        features, mirrored = (network.maps(each)[1] for each in (crops, crops.flip(3)))
        seen = network.offsets(features, torch.from_numpy(coarse), torch.from_numpy(scores)).numpy()
        back = network.offsets(mirrored, torch.from_numpy(across), torch.from_numpy(scores[:, swapped])).numpy()[
            :, swapped
        ]
    back[..., 0] *= -1
    np.testing.assert_allclose(refined, coarse + (seen + back) / 2, atol=1e-4)


def test_the_flip_test_reads_both_crops_at_the_same_spot(tiny_graph_pcnn, monkeypatch):
    """Features that are the crop's own pixels have one value at a spot, whichever way the crop is seen."""
    network = tiny_graph_pcnn()
    crops = torch.arange(64.0).expand(1, 3, 96, 64)  # each pixel's column
    heatmaps = network.maps(crops_for(network, 1))[0].detach()
    read = []

    def offsets(features, points, scores):
        read.append(sample(features, points, network.size))
        return torch.zeros_like(points)

    monkeypatch.setattr(network, "maps", lambda both: (heatmaps.expand(2, -1, -1, -1), both[..., ::4, ::4]))
    monkeypatch.setattr(network, "offsets", offsets)
    coarse = FlipTested(network)(crops).coarse
    seen, mirrored = read
    swapped = [0, *(left + 1 - 2 * (left % 2 == 0) for left in range(1, 17))]
    inside = (coarse[0, :, 0] > 0.75).numpy()  # columns 63 to 61 of the mirror image lie beyond its last cell
    torch.testing.assert_close(seen[0, :, 0], 4 * coarse[0, :, 0])
    torch.testing.assert_close(mirrored[:, swapped][0, inside], seen[0, inside])
    assert inside.sum() > 10


def test_new_networks_repeat_with_the_seed(tiny_heatmap_variant):
    variant = Variant("tiny", tiny_heatmap_variant("hrnet"))
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(new(variant).state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
