"""Training of Graph-PCNN: targets, guided points and losses against plain loops, and that it learns."""

import copy
import dataclasses
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export import graph_edit  # noqa: E402
from export.families.graph_pcnn.network import new  # noqa: E402
from export.families.graph_pcnn.variants import OUTPUTS  # noqa: E402
from synthetic.dataset import _render, collect  # noqa: E402
from synthetic.graph_pcnn_losses import (  # noqa: E402
    HEAT,
    Guided,
    guided,
    heatmap_loss,
    heatmap_targets,
    random_points,
    stage2_loss,
)
from synthetic.graph_pcnn_task import EQUAL_NEIGHBOURS, GRAPH_PCNN, WITHOUT_GRAPH, GraphPcnnTask  # noqa: E402
from synthetic.network_files import export_graph_pcnn  # noqa: E402
from synthetic.pose_task import normalized  # noqa: E402
from synthetic.trainer import Schedule, Trainer  # noqa: E402
from tests.tiny_networks import graph_pcnn_variant  # noqa: E402

pytestmark = pytest.mark.torch

SIZE, SIGMA = (24, 32), 2.0
TINY = graph_pcnn_variant(input_size=(96, 128))


@pytest.fixture(scope="module")
def data():
    return collect([_render(seed) for seed in range(7_000, 7_006)])


@pytest.fixture
def task(data):
    return lambda: GraphPcnnTask(data, seed=3, batch_size=4, variant=TINY)


def test_the_network_is_small_enough_to_be_committed():
    assert 4 * sum(value.numel() for value in new(GRAPH_PCNN).parameters()) < 7.5e6
    assert GRAPH_PCNN.baseline.heatmap_size == SIZE
    assert (GRAPH_PCNN.reliable, GRAPH_PCNN.baseline.sigma) == (0.85, SIGMA)


def test_the_ablation_changes_only_the_graph():
    for variant, graph in ((WITHOUT_GRAPH, "none"), (EQUAL_NEIGHBOURS, "ones")):
        assert variant.graph == graph
        assert dataclasses.replace(variant, graph="full", name=GRAPH_PCNN.name) == GRAPH_PCNN


def test_targets_are_the_official_ones():
    truth = np.array([[[3.4, 7.6], [0.2, 31.4], [-5.4, 12.0]]], np.float32)
    targets = heatmap_targets(torch.from_numpy(truth), SIZE, SIGMA)[0].numpy()
    for point, cells in zip(truth[0], targets, strict=True):
        center = np.floor(point + 0.5)
        for y, x in np.ndindex(cells.shape):
            dx, dy = x - center[0], y - center[1]
            expected = math.exp(-(dx**2 + dy**2) / 8) if max(abs(dx), abs(dy)) <= 6 else 0
            assert cells[y, x] == pytest.approx(expected, rel=1e-5)


def test_heat_map_loss_counts_annotated_keypoints():
    targets = heatmap_targets(torch.tensor([[[12.0, 15], [4, 20]]]), SIZE, SIGMA)
    weights = torch.tensor([[1.0, 0]])
    assert heatmap_loss(targets, targets, weights, SIGMA) == 0
    assert heatmap_loss(torch.zeros(1, 2, 32, 24), targets, weights, SIGMA) == pytest.approx(0.25, abs=0.01)


def test_random_points_are_distributed_as_in_the_paper():
    truth = np.array([[12, 15], [1, 30], [40, -10]], np.float32)
    points = random_points(np.random.default_rng(0), truth, SIZE, SIGMA, 200)
    distance = np.linalg.norm(points - truth[:, None], axis=2)
    assert points.shape == (3, 400, 2) and points.dtype == np.float32
    assert ((points >= 0) & (points <= [23, 31])).all()
    assert (distance[:2, :200] <= 6 + 1e-4).all() and (distance[:, 200:] >= 6 - 1e-4).all()
    assert 3.5 < distance[0, :200].mean() < 4.5  # evenly in the disc: 2/3 of the radius
    assert (np.ptp(points[0, 200:], axis=0) > [22, 30]).all()


def test_guided_points_are_of_three_kinds_and_shuffled():
    rng = np.random.default_rng(0)
    heatmaps = torch.from_numpy(rng.random((2, 3, 32, 24), np.float32))
    drawn = torch.from_numpy(rng.uniform(0, 20, (2, 3, 4, 2)).astype(np.float32))
    found = guided(heatmaps, drawn, torch.from_numpy(rng.random((2, 3, 6), np.float32)))
    assert found.points.shape == (2, 6, 3, 2) and found.heat.shape == (2, 6, 3)
    orders = set()
    for b, k in np.ndindex(2, 3):
        cells = heatmaps[b, k]
        highest = [divmod(int(i), 24)[::-1] for i in cells.flatten().topk(2).indices]
        expected = [*map(tuple, drawn[b, k].tolist()), *((float(x), float(y)) for x, y in highest)]
        points = [tuple(point) for point in found.points[b, :, k].tolist()]
        assert sorted(points) == sorted(expected)
        orders.add(tuple(expected.index(point) for point in points))
        for point, heat in zip(points, found.heat[b, :, k], strict=True):
            if point in expected[4:]:
                assert heat == pytest.approx(float(cells[int(point[1]), int(point[0])]), abs=1e-4)
    assert len(orders) > 3


@pytest.mark.parametrize("graph", ["full", "ones", "none"])
def test_loss_of_stage_2(graph):
    torch.manual_seed(0)
    network = new(dataclasses.replace(TINY, graph=graph)).eval()
    torch.nn.init.normal_(network.reg.weight)
    rng = np.random.default_rng(1)
    truth = torch.from_numpy(rng.uniform(4, 20, (2, 17, 2)).astype(np.float32))
    points = truth[:, None] + torch.from_numpy(rng.normal(0, 4, (2, 5, 17, 2)).astype(np.float32))
    found = Guided(points.clamp(0, 23), torch.from_numpy(rng.uniform(0, 1, (2, 5, 17)).astype(np.float32)))
    weights = torch.from_numpy((rng.random((2, 17)) > 0.3).astype(np.float32))
    features = torch.randn(2, 4, 32, 24)
    with torch.no_grad():
        terms = stage2_loss(network, features, found, truth, weights)
    of_class, of_offset = in_loops(network, features, found, truth, weights)
    assert float(terms["class"]) == pytest.approx(of_class, rel=1e-4)
    assert float(terms["offset"]) == pytest.approx(of_offset, rel=1e-4)


def in_loops(network, features, found, truth, weights):
    """The paper's losses, one image, graph and keypoint at a time."""
    from export.families.graph_pcnn.refinement import sample

    classes, offsets, total = 0.0, 0.0, 0.0
    for b in range(2):
        answers = []
        for n in range(5):
            points = found.points[b, n][None]
            near = (points[0] - truth[b]).norm(dim=1) < 2 * SIGMA
            reliable = (near & (weights[b] > 0))[None]
            omega = {
                "full": torch.where(reliable, found.heat[b, n][None], torch.zeros(())),
                "ones": torch.ones(1, 17),
                "none": torch.zeros(1, 17),
            }[network.variant.graph]
            with torch.no_grad():
                answers.append(network.refine(sample(features[b : b + 1], points, SIZE), omega))
        for k in range(17):
            positives, negatives, errors = [], [], []
            for n, (moves, logits) in enumerate(answers):
                way = truth[b, k] - found.points[b, n, k]
                surprise = -logits[0, k].log_softmax(0)
                if way.norm() < 3 * SIGMA:
                    positives.append(math.exp(-float(way @ way) / (2 * SIGMA**2)) * float(surprise[1]))
                    errors.append(float((moves[0, k] - way).abs().sum()))
                else:
                    negatives.append(float(surprise[0]))
            gamma = float(weights[b, k])
            classes += gamma * 0.5 * sum(float(np.mean(each)) for each in (positives, negatives) if each)
            offsets += gamma * (float(np.mean(errors)) if errors else 0)
            total += gamma
    return classes / total, offsets / total


def test_loss_falls_on_a_fixed_batch(task):
    trainer = Trainer(task(), Schedule(steps=100, rate=3e-3, warmup=1))
    batch = trainer.task.batch(0)
    terms = [trainer.train_step(batch) for _ in range(30)]
    assert terms[-1]["heat"] < 0.6 * terms[0]["heat"]
    assert terms[-1]["offset"] < 0.8 * terms[0]["offset"]
    for each in terms:
        assert each["loss"] == pytest.approx(HEAT * each["heat"] + each["class"] + 16 * each["offset"], rel=1e-5)


def test_gradients_do_not_cross_between_the_stages(task):
    """The guided points and their heat are constants for stage 2."""
    trained = task()
    terms = trained.loss(trained.batch(0))
    terms["heat"].backward(retain_graph=True)
    named = dict(trained.network.named_parameters())
    assert named["final_layer.weight"].grad is not None and named["gpr.weight"].grad is None
    assert not any(value.grad is not None for name, value in named.items() if name.startswith("loc_"))
    trained.network.zero_grad()
    (terms["class"] + terms["offset"]).backward()
    assert named["final_layer.weight"].grad is None and named["stage4.0.branches.0.0.conv1.weight"].grad is None
    assert named["loc_stage4.0.branches.0.0.conv1.weight"].grad is not None and named["conv1.weight"].grad is not None


def test_the_averaged_network_is_exported(task, tmp_path):
    trainer = Trainer(task(), Schedule(steps=10))
    for step in range(2):
        trainer.train_step(trainer.task.batch(step))
    export_graph_pcnn(trainer, tmp_path / "a.onnx")
    assert trainer.averaged.module.training
    crops = normalized(trainer.task.batch(9)["crops"])
    averaged = copy.deepcopy(trainer.averaged.module).eval()
    with torch.no_grad():
        _, coarse, scores = averaged(crops)
    session = graph_edit.cpu_session(graph_edit.load(tmp_path / "a.onnx"))
    found = dict(zip(OUTPUTS, session.run(OUTPUTS, {"input": crops.numpy()}), strict=True))
    np.testing.assert_allclose(found["scores"], scores, atol=1e-4)
    assert (np.abs(found["coarse_keypoints"] - coarse.numpy()) < 1e-4).mean() > 0.9  # flat maps have near ties
