"""Every layer against its definition, written with loops."""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export.families.cigpose.backbone import CspNext, SpatialPyramid  # noqa: E402
from export.families.cigpose.graph_network import EdgeConv, GroupAttention  # noqa: E402
from export.families.cigpose.head import GatedAttention, Intervention, ScaleNorm  # noqa: E402

pytestmark = pytest.mark.torch
silu = torch.nn.functional.silu


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def randomize_statistics(norm):
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        tensor.normal_()
    norm.running_var.uniform_(0.5, 2.0)


def test_scale_norm_divides_by_the_root_mean_square():
    x = torch.randn(2, 3, 8)
    norm = ScaleNorm(8)
    norm.g.fill_(3.0)
    torch.testing.assert_close(norm(x), 3 * x / x.square().mean(-1, keepdim=True).sqrt())
    assert not norm(torch.zeros(1, 1, 8)).any()


def test_edge_conv_sums_messages_of_receivers_only():
    layer = EdgeConv(4, [(0, 1), (0, 2), (2, 0)], nodes=3).eval()
    randomize_statistics(layer.conv[1])
    x = torch.randn(2, 3, 4)
    expected = torch.zeros(2, 3, 4)
    for i, j in ((0, 1), (0, 2), (2, 0)):
        both = torch.cat((x[:, i], x[:, j] - x[:, i]), dim=1)
        expected[:, i] += silu(layer.conv[1](both @ layer.conv[0].weight.flatten(1).T))
    torch.testing.assert_close(layer(x), expected)


def test_edge_conv_uses_batch_statistics_in_training():
    layer = EdgeConv(4, [(0, 1), (1, 0)], nodes=2).train()
    before = layer.conv[1].running_mean.clone()
    layer(torch.randn(5, 2, 4) + 3)
    assert not torch.equal(before, layer.conv[1].running_mean)
    assert layer.conv[1].num_batches_tracked == 1


def test_group_attention_averages_over_groups_and_over_memberships():
    groups = ((0, 1), (1, 2), (0, 1, 2))
    layer = GroupAttention(8, 3, groups).eval()
    randomize_statistics(layer.bn_down)
    x = torch.randn(2, 3, 8)
    narrow = silu(layer.bn_down(layer.conv_down_linear(x).flatten(0, 1)).unflatten(0, (2, 3)))
    pooled = torch.stack([narrow[:, list(group)].mean(1) for group in groups], dim=1)
    gates = torch.sigmoid(layer.aggregate_linear(layer.edge_conv_groups(pooled)))
    for keypoint in range(3):
        own = [g for g, group in enumerate(groups) if keypoint in group]
        torch.testing.assert_close(layer(x)[:, keypoint], x[:, keypoint] * gates[:, own].mean(1))


def test_gated_attention_by_its_formula():
    layer = GatedAttention(6, 4)
    x = torch.randn(1, 3, 6)
    mixed = silu(layer.uv(layer.ln(x)))[0]
    u, v, base = mixed[:, :12], mixed[:, 12:24], mixed[:, 24:]
    q, k = (base * layer.gamma[i] + layer.beta[i] for i in (0, 1))
    attention = torch.relu(q @ k.T / 2.0) ** 2
    torch.testing.assert_close(layer(x)[0], x[0] * layer.res_scale.scale + layer.o(u * (attention @ v)))


@pytest.mark.parametrize("count", [1, 2])
def test_the_intervention_replaces_the_least_certain(count):
    layer = Intervention(4, 5)
    x = torch.randn(2, 4, 5)
    confidence = torch.tensor([[0.4, 0.1, 0.3, 0.2], [0.1, 0.4, 0.2, 0.3]])
    y, mask = layer(x, confidence, count)
    assert [row.nonzero().flatten().tolist() for row in mask] == [[[1], [0]], [[1, 3], [0, 2]]][count - 1]
    for sample, keypoint in ((s, k) for s in range(2) for k in range(4)):
        expected = layer.canonical_features.weight[keypoint] if mask[sample, keypoint] else x[sample, keypoint]
        assert torch.equal(y[sample, keypoint], expected)


def test_the_pyramid_pools_side_by_side():
    layer = SpatialPyramid(8).eval()
    x = torch.randn(1, 8, 16, 16)
    narrow = layer.conv1(x)
    pools = [torch.nn.functional.max_pool2d(narrow, k, 1, k // 2) for k in (5, 9, 13)]
    torch.testing.assert_close(layer(x), layer.conv2(torch.cat([narrow, *pools], 1)))


def test_only_the_last_stage_has_no_residuals():
    network = CspNext((4, 8), (8, 16, 24, 32), (1, 1, 1, 1))
    residual = [block.residual for stage in (1, 2, 3, 4) for block in getattr(network, f"stage{stage}")[-1].blocks]
    assert residual == [True, True, True, False]
    assert network.eval()(torch.randn(2, 3, 64, 96)).shape == (2, 32, 2, 3)
