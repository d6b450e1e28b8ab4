"""Equation (7), sampling and decoding, each against plain loops and recorded arrays."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from ensemble.steps.decode_heatmaps import decode_heatmaps  # noqa: E402
from export.families.graph_pcnn.refinement import GraphRefinement, guided_points, sample  # noqa: E402
from tests.ensemble.steps.record_heatmaps import SIZE, example_heatmaps  # noqa: E402

pytestmark = pytest.mark.torch

EDGES = [(0, 1), (1, 2), (1, 3)]  # keypoint 4 has no neighbour


def refinement(seed=0, keypoints=5, channels=6, width=3):
    torch.manual_seed(seed)
    return GraphRefinement(keypoints, EDGES, channels, width).double()


def in_loops(network, features, weights):
    """Equation (7), one keypoint and one neighbour at a time."""
    count = features.shape[1]
    pairs = [(k, k) for k in range(count)] + [pair for a, b in EDGES for pair in ((a, b), (b, a))]
    maps = dict(zip(pairs, network.weight.detach().numpy(), strict=True))
    refined = np.zeros((len(features), count, network.weight.shape[1]))
    for b, k in np.ndindex(len(features), count):
        neighbours = [source for source, target in pairs if target == k]
        omega = {source: 1.0 if source == k else weights[b, source] for source in neighbours}
        refined[b, k] = sum(omega[s] * maps[s, k] @ features[b, s] for s in neighbours) / sum(omega.values())
    return refined


def test_equation_7():
    network, rng = refinement(), np.random.default_rng(0)
    features, weights = rng.normal(size=(4, 5, 6)), rng.uniform(0, 1.2, (4, 5)) * (rng.random((4, 5)) > 0.4)
    found = network(torch.from_numpy(features), torch.from_numpy(weights)).detach().numpy()
    np.testing.assert_allclose(found, in_loops(network, features, weights), rtol=1e-12)


def test_equation_7_as_recorded(shared, fill_systems):
    golden = np.load(shared / "reference" / "graph_pcnn" / "golden_gpr.npz")
    edges, width = golden["edges"].tolist(), golden["g"].shape[1]
    keypoints, channels = golden["f"].shape
    network = GraphRefinement(keypoints, edges, channels, width).double()
    pairs = [(k, k) for k in range(keypoints)] + [pair for a, b in edges for pair in ((a, b), (b, a))]
    maps = [fill_systems.signed(f"gpr/shared/T/{q}->{k}", width * channels) for q, k in pairs]
    network.weight.data = torch.from_numpy(np.stack(maps).reshape(-1, width, channels) / channels**0.5)
    heat = torch.from_numpy(golden["h"])
    weights = heat * (heat > float(golden["xi"]))
    for kind, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        features = torch.from_numpy(golden["f"]).to(kind)[None]
        found = network.to(kind)(features, weights.to(kind)[None])[0].detach().numpy()
        np.testing.assert_allclose(found, golden["g"], rtol=0, atol=tolerance)


def test_without_reliable_neighbours_only_the_own_map_remains():
    network = refinement()
    features = torch.randn(2, 5, 6, dtype=torch.float64)
    found = network(features, torch.zeros(2, 5, dtype=torch.float64))
    torch.testing.assert_close(found, torch.einsum("bkc,kdc->bkd", features, network.weight[:5]))


def test_a_keypoint_hears_its_neighbours_alone():
    network, features = refinement(), torch.randn(1, 5, 6, dtype=torch.float64)
    weights = torch.ones(1, 5, dtype=torch.float64)
    plain = network(features, weights)
    features[0, 1] += 1
    moved = (network(features, weights) - plain)[0].abs().amax(1) > 1e-9
    assert moved.tolist() == [True, True, True, True, False]
    features[0, 4] += 1
    moved = (network(features, weights) - plain)[0].abs().amax(1) > 1e-9
    assert moved.tolist() == [True] * 5


def test_features_are_sampled_bilinearly():
    width, height = 6, 4
    features = torch.randn(2, 3, height, width, dtype=torch.float64)
    points = torch.tensor([[[0, 0], [5, 3], [2.25, 1.5]], [[4, 2], [0.5, 2.75], [3, 0.25]]], dtype=torch.float64)
    found = sample(features, points, (width, height))
    for b, p in np.ndindex(2, 3):
        x, y = points[b, p].tolist()
        left, top = min(int(x), width - 2), min(int(y), height - 2)
        rows = [(1 - (y - top), top), (y - top, top + 1)]
        columns = [(1 - (x - left), left), (x - left, left + 1)]
        expected = sum(v * u * features[b, :, row, column] for v, row in rows for u, column in columns)
        torch.testing.assert_close(found[b, p], expected)


def test_guided_points_are_the_decoded_keypoints():
    heatmaps = example_heatmaps()
    points, maxima = guided_points(torch.from_numpy(heatmaps), SIZE)
    keypoints, scores = decode_heatmaps(heatmaps, "quarter")
    np.testing.assert_array_equal(points.numpy(), keypoints)
    np.testing.assert_array_equal(maxima.numpy(), scores)
