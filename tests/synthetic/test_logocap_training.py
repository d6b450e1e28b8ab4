"""Training of LOGO-CAP: targets that decode to the truth, losses that are 0 there, and that it learns."""

import copy
import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export import graph_edit  # noqa: E402
from export.families.hrnet.variants import Hrnet  # noqa: E402
from export.families.logocap import OUTPUTS  # noqa: E402
from export.families.logocap.export import example_picture, stages_of  # noqa: E402
from export.families.logocap.forms import FlipTested  # noqa: E402
from export.families.logocap.network import Maps, build  # noqa: E402
from synthetic import adaptation  # noqa: E402
from synthetic.dataset import _render, collect  # noqa: E402
from synthetic.logocap_losses import Truth, gaussians, heat_loss, offset_loss, total  # noqa: E402
from synthetic.logocap_task import LOGOCAP, LogoCapTask  # noqa: E402
from synthetic.network_files import export_logocap  # noqa: E402
from synthetic.trainer import Schedule, Trainer  # noqa: E402

pytestmark = pytest.mark.torch

TINY = dataclasses.replace(
    LOGOCAP, architecture=Hrnet(4, (1, 1, 1), blocks=1, stem=8, bottlenecks=1), offsets=8, embedding=4,
    filter_layers=(12, 8, 8),
)  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return collect([_render(seed) for seed in range(7_000, 7_006)])


@pytest.fixture
def task(data):
    return LogoCapTask(data, seed=3, batch_size=4, variant=TINY)


@pytest.fixture(scope="module")
def truth():
    """Two pictures of 320 x 256 pixels: one person, and two; one keypoint is not annotated."""
    generator = np.random.default_rng(0)
    points = np.zeros((2, 3, 17, 2), np.float32)
    weights = np.zeros((2, 3, 17), np.float32)
    for picture, row, corner in ((0, 0, (60, 50)), (1, 0, (20, 40)), (1, 1, (180, 90))):
        points[picture, row] = generator.uniform(0, 90, (17, 2)) + corner
        weights[picture, row] = 1
    weights[1, 0, 3] = 0
    return Truth(torch.from_numpy(points), torch.from_numpy(weights))


def perfect(truth):
    """The maps of a network that knows the truth."""
    heat = gaussians(truth.points, truth.weights, (80, 64), 1.5).amax(1)
    centers = gaussians(truth.centers[:, :, None], truth.present[..., None].float(), (80, 64), 2.0).amax(1)
    cells = torch.stack(torch.meshgrid(torch.arange(80.0), torch.arange(64.0), indexing="xy"), 0)
    nearest = (truth.centers[:, :, :, None, None] / 4 - cells).norm(dim=2)
    nearest[~truth.present] = torch.inf
    person = nearest.argmin(1)  # (B, h, w)
    points = truth.points[torch.arange(2)[:, None, None], person]  # (B, h, w, 17, 2)
    offsets = (cells.permute(1, 2, 0)[:, :, None] + 0.375 - points / 4).flatten(3).permute(0, 3, 1, 2)
    return Maps(torch.cat((heat, centers), 1), offsets, torch.zeros(2, TINY.embedding, 64, 80))


def test_the_network_is_small_enough_to_be_committed():
    assert 4 * sum(value.numel() for value in build(LOGOCAP).parameters()) < 7.5e6


def test_perfect_maps_have_no_loss_and_decode_to_the_truth(truth):
    maps, network = perfect(truth), build(TINY)
    assert float(heat_loss(maps.heatmaps, truth)) == 0
    assert float(offset_loss(maps.offsets, truth)) == pytest.approx(0, abs=1e-6)
    torch.nn.init.zeros_(network.joints_mlp[-1].weight)
    torch.nn.init.ones_(network.joints_mlp[-1].bias)  # filters of ones: a mean, which moves no peak
    for picture, count in ((0, 1), (1, 2)):
        stages = FlipTested(network).refine(Maps(*(each[picture] for each in maps)))
        people = stages.people
        assert len(stages.filters) == count
        for row in range(count):
            points = truth.points[picture, row]
            found = (people.keypoints[:count] - points).norm(dim=2).mean(1).argmin()
            annotated = truth.weights[picture, row] > 0
            first = (stages.poses[found] - points).norm(dim=1)
            assert first.max() < 2.5  # a cell is four pixels wide
            assert (people.keypoints[found] - points)[annotated].norm(dim=1).max() < 2.5
            assert (people.keypoints[found] - points)[annotated].norm(dim=1).mean() < 1.2


def test_errors_cost(truth):
    maps = perfect(truth)
    assert float(heat_loss(torch.zeros_like(maps.heatmaps), truth)) == pytest.approx(1)
    moved = [float(offset_loss(maps.offsets + cells, truth)) for cells in (0.5, 1.0, 4.0)]
    assert 0 < moved[0] < moved[1] < moved[2]


def test_batches_depend_on_the_step_alone_and_mirror_people_with_their_sides(task, data):
    other = LogoCapTask(data, seed=3, batch_size=4, variant=TINY)
    first, again = task.batch(5), other.batch(5)
    for name, value in first.items():
        assert torch.equal(value, again[name]), name
    assert first["pictures"].shape == (4, 256, 320, 3)
    everything = torch.cat([task.batch(step)["weights"] for step in range(4)])
    assert 0.2 < float(everything[everything.sum(2) > 0].mean()) <= 1


def test_the_losses_reach_every_part_and_fall(task):
    trainer = Trainer(task, Schedule(steps=100, rate=3e-3, warmup=1))
    batch = task.batch(0)
    terms = task.loss(batch)
    terms["loss"].backward()
    reached = {name for name, value in task.network.named_parameters() if value.grad is not None}
    assert reached == set(dict(task.network.named_parameters()))
    parts = [value.detach() for name, value in terms.items() if name != "loss"]
    assert float(terms["loss"].detach()) == pytest.approx(float(sum(parts)))
    task.network.zero_grad()
    losses = [trainer.train_step(batch)["loss"] for _ in range(12)]
    assert losses[-1] < 0.9 * losses[0]


def test_a_batch_of_nobody_has_a_loss(task):
    batch = task.batch(0)
    batch["weights"].zero_()
    terms = task.loss(batch)
    assert all(torch.isfinite(value) for value in terms.values())
    terms["loss"].backward()


def test_filters_learn_from_the_pictures_own_people(truth):
    """The loss of perfect maps is smaller than that of maps of other pictures."""
    network, noise = build(TINY), torch.zeros(2, 3, 17, 2)
    maps = perfect(truth)
    own = total(network, maps, truth, noise)
    swapped = total(network, Maps(*(each.flip(0) for each in maps)), truth, noise)
    assert own["window"] < swapped["window"]


@pytest.fixture(scope="module")
def exported(data, tmp_path_factory):
    """A little trained network in eval mode, and its file."""
    trainer = Trainer(LogoCapTask(data, seed=3, batch_size=2, variant=TINY), Schedule(steps=10))
    for step in range(2):
        trainer.train_step(trainer.task.batch(step))
    path = tmp_path_factory.mktemp("trained") / "logocap-t.onnx"
    export_logocap(trainer, path)
    return copy.deepcopy(trainer.averaged.module).eval(), path


def test_first_poses_are_the_answer_without_adaptation(exported):
    network, path = exported
    picture = example_picture(128, 192)
    stages = stages_of(FlipTested(network), picture)
    session = graph_edit.cpu_session(adaptation.without_adaptation(graph_edit.load(path)))
    found = dict(zip(OUTPUTS, session.run(OUTPUTS, {"input": picture.numpy()}), strict=True))
    rows = stages.people.center_scores.numpy() > 0
    np.testing.assert_allclose(found["center_scores"], stages.people.center_scores, atol=1e-4)
    if rows.any():
        distances = np.linalg.norm(found["keypoints"][0] - stages.poses[0].numpy(), axis=1)
        assert distances.max() < 0.1
    np.testing.assert_allclose(found["person_scores"], found["keypoint_scores"].mean(axis=1), atol=1e-6)


def test_other_files_have_no_first_poses(exported):
    model = graph_edit.load(exported[1])
    (last,) = (node for node in model.graph.node if "keypoints" in node.output)
    last.op_type = "Sub"
    with pytest.raises(ValueError, match="no LOGO-CAP file"):
        adaptation.without_adaptation(model)


def test_the_recorded_gain_is_the_papers_point():
    if not adaptation.RECORD.exists():
        pytest.skip("no trained LOGO-CAP is committed")
    record = json.loads(adaptation.RECORD.read_text())
    assert record["scenes"] == 200
    found = record["average_precision"]
    assert found["full"] >= found["none"] + adaptation.LEAST_GAIN


@pytest.mark.slow
def test_the_committed_network_gains_what_is_recorded(tmp_path):
    path = adaptation.RECORD.with_name(f"{LOGOCAP.name}.onnx")
    if not path.exists():
        pytest.skip("no trained LOGO-CAP is committed")
    assert path.stat().st_size <= 8_000_000
    recorded = json.loads(adaptation.RECORD.read_text())["average_precision"]
    measured = adaptation.measured(path, tmp_path)["average_precision"]
    for level, expected in recorded.items():
        assert measured[level] >= expected - 0.01, level


def test_the_command_measures_both_levels(exported, tmp_path, capsys):
    pytest.importorskip("pycocotools", reason="needs pycocotools")
    output = tmp_path / "record.json"
    status = adaptation.main(["--pose", str(exported[1]), "--scenes", "4", "--output", str(output)])
    found = json.loads(output.read_text())["average_precision"]
    assert set(found) == {"full", "none"}
    assert status == int(found["full"] - found["none"] < adaptation.LEAST_GAIN)
    assert capsys.readouterr().out
