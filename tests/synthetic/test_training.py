import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export import graph_edit  # noqa: E402
from synthetic.crops import training_crop  # noqa: E402
from synthetic.dataset import _render, collect  # noqa: E402
from synthetic.detector_task import DetectorTask  # noqa: E402
from synthetic.graph_pcnn_task import GraphPcnnTask  # noqa: E402
from synthetic.network_files import export_detector, export_pose  # noqa: E402
from synthetic.pose_losses import as_distribution, divergence, simcc_labels  # noqa: E402
from synthetic.pose_task import POSE, PoseTask  # noqa: E402
from synthetic.trainer import Schedule, Trainer, resume, save  # noqa: E402
from synthetic.yolox import cells  # noqa: E402
from synthetic.yolox_losses import assign, decode_boxes, intersection_over_union  # noqa: E402
from tests.tiny_networks import graph_pcnn_variant  # noqa: E402

pytestmark = pytest.mark.torch

TINY = dataclasses.replace(POSE, name="tiny", widen=0.125, hidden_dims=32, gau_s=16)


@pytest.fixture(scope="module")
def data():
    return collect([_render(seed) for seed in range(7_000, 7_010)])


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny networks gain nothing from threads, and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["pose", "detector", "graphpcnn"])
def make_task(request, data):
    return {
        "pose": lambda: PoseTask(data, seed=3, batch_size=4, variant=TINY),
        "detector": lambda: DetectorTask(data, seed=3, batch_size=2, size=128),
        "graphpcnn": lambda: GraphPcnnTask(data, seed=3, batch_size=4, variant=graph_pcnn_variant()),
    }[request.param]


def test_loss_falls_on_a_fixed_batch(make_task) -> None:
    trainer = Trainer(make_task(), Schedule(steps=100, rate=3e-3, warmup=1))
    batch = trainer.task.batch(0)
    losses = [trainer.train_step(batch)["loss"] for _ in range(8)]
    assert np.isfinite(losses).all() and min(losses[-2:]) < losses[0]


def test_resumed_training_continues_exactly(make_task, tmp_path) -> None:
    straight = Trainer(make_task(), Schedule(steps=10))
    for step in range(4):
        straight.train_step(straight.task.batch(step))
        if step == 1:
            save(straight, tmp_path / "state.pt")
    again = Trainer(make_task(), Schedule(steps=10))
    resume(again, tmp_path / "state.pt")
    for step in range(again.step, 4):
        again.train_step(again.task.batch(step))
    for network, other in ((straight.task.network, again.task.network), (straight.averaged, again.averaged)):
        for name, value in network.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name


def test_batches_depend_only_on_the_step(make_task) -> None:
    first, second = make_task(), make_task()
    first.batch(0)
    for name, value in first.batch(5).items():
        assert torch.equal(value, second.batch(5)[name])


def test_training_crop_moves_points_with_the_picture() -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    points = np.random.default_rng(0).uniform(60, 140, (133, 2)).astype(np.float32)
    points[0] = 100, 90
    image[87:94, 97:104] = 255
    compared = 0
    for seed in range(40):
        box = np.array((50, 50, 150, 150), np.float32)
        sample = training_crop(np.random.default_rng(seed), image, points, np.full(133, 2, np.uint8), box, (192, 256))
        white = np.argwhere((sample.crop > 140).all(axis=2))[:, ::-1]
        if sample.weights[0] and len(white) and np.ptp(white, axis=0).max() < 24:  # not covered by a patch
            compared += 1
            assert np.abs(white.mean(axis=0) - sample.points[0]).max() < 2
    assert compared > 15


def test_label_peaks_where_the_point_is() -> None:
    labels = simcc_labels(torch.tensor([[10.0, 100.0]]), bins=384, sigma=4.9)
    assert labels.argmax(-1).tolist() == [[10, 100]]
    assert labels.max() == 1.0
    assert divergence(labels[0], as_distribution(labels[0]), torch.ones(2)) == pytest.approx(0.0, abs=1e-5)


def test_every_person_gets_cells_of_its_size() -> None:
    corners, strides = cells(416)
    boxes = torch.tensor([[10.0, 10.0, 40.0, 60.0], [100.0, 50.0, 300.0, 400.0]])
    owners = assign(boxes, corners, strides)
    assert set(owners.tolist()) == {-1, 0, 1}
    assert set(strides[owners == 0].tolist()) == {8.0} and set(strides[owners == 1].tolist()) == {32.0}
    assert (assign(torch.zeros(0, 4), corners, strides) == -1).all()


def test_boxes_decode_as_yolox_does() -> None:
    corners, strides = cells(64)
    rows = torch.zeros(len(corners), 6)
    boxes = decode_boxes(rows, corners, strides)
    assert boxes[9].tolist() == [4.0, 4.0, 12.0, 12.0]  # second row, second column of stride 8
    assert intersection_over_union(boxes[:1], boxes[:1]).item() == pytest.approx(1.0)


def test_exported_detector_has_yolox_raw_form(data, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("synthetic.network_files.SIZE", 128)
    trainer = Trainer(DetectorTask(data, seed=0, batch_size=2, size=128), Schedule(steps=10))
    trainer.train_step(trainer.task.batch(0))
    export_detector(trainer, tmp_path / "detector.onnx")
    network, model = trainer.averaged.module.eval(), graph_edit.load(tmp_path / "detector.onnx")
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["images", "output"]
    images = torch.rand(3, 3, 128, 128) * 255
    (rows,) = graph_edit.cpu_session(model).run(None, {"images": images.numpy()})
    assert rows.shape == (3, 16 * 16 + 8 * 8 + 4 * 4, 6)
    assert (rows[..., 4:] > 0).all() and (rows[..., 4:] < 1).all()
    with torch.no_grad():
        np.testing.assert_allclose(rows, network(images).numpy(), atol=2e-2)  # the weights are stored in float16


@pytest.mark.slow
def test_exported_pose_file_has_the_published_form(data, tmp_path) -> None:
    trainer = Trainer(PoseTask(data, seed=0, batch_size=4), Schedule(steps=10))
    trainer.train_step(trainer.task.batch(0))
    export_pose(trainer, tmp_path / "pose.onnx")
    session = graph_edit.cpu_session(graph_edit.load(tmp_path / "pose.onnx"))
    assert [value.name for value in session.get_outputs()] == ["simcc_x", "simcc_y"]
    assert "cigpose_meta" in session.get_modelmeta().custom_metadata_map
