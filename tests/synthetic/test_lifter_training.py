"""Training of Context-Aware PoseFormer: exact joints in space, batches, and that it learns."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from ensemble.keypoints import keypoint_set  # noqa: E402
from ensemble.keypoints.human36m import STATURE_M, pixels_per_metre, to_human36m  # noqa: E402
from export import graph_edit  # noqa: E402
from export.families.hrnet.variants import Hrnet  # noqa: E402
from export.families.poseformer.export import export_onnx  # noqa: E402
from export.families.poseformer.network import build  # noqa: E402
from export.families.poseformer.variants import INPUTS  # noqa: E402
from export.onnx_export import ExportOptions  # noqa: E402
from synthetic.dataset import _render, collect, load_or_render  # noqa: E402
from synthetic.lifter_accuracy import measure_lifter  # noqa: E402
from synthetic.lifter_task import LIFTER, WITHOUT_CONTEXT, LifterTask, Sample, mirrored  # noqa: E402
from synthetic.network_files import export_lifter  # noqa: E402
from synthetic.pose_task import normalized  # noqa: E402
from synthetic.scene import render_scene  # noqa: E402
from synthetic.trainer import Schedule, Trainer  # noqa: E402

pytestmark = pytest.mark.torch

TINY = dataclasses.replace(LIFTER, backbone=Hrnet(4, (1, 1, 1), 1, 8, 1), width=16, depth=1, input_size=(64, 96))
JOINTS = keypoint_set("human36m").names


@pytest.fixture(scope="module")
def data():
    return collect([_render(seed) for seed in range(7_000, 7_006)])


@pytest.fixture
def task(data):
    return lambda: LifterTask(data, seed=3, batch_size=4, variant=TINY)


def test_the_network_is_small_enough_to_be_committed():
    assert 4 * sum(value.numel() for value in build(LIFTER).parameters()) < 7.5e6


def test_joints_in_space_are_those_of_the_picture(data):
    """Seen from far away, a person's joints in space lie behind each other as in the picture, up to the perspective."""
    joints = to_human36m(data.points, "coco_wholebody")
    flat = joints - joints[:, :1]
    for found, truth in zip(flat, data.joints_3d, strict=True):
        scale = (found * truth[:, :2]).sum() / (truth[:, :2] ** 2).sum()
        assert scale > 0
        assert np.abs(found - scale * truth[:, :2]).max() < 0.2 * scale
    assert not data.joints_3d[:, 0].any()
    shins = np.linalg.norm(np.diff(data.joints_3d[:, [2, 3]], axis=1), axis=2)
    assert (np.abs(shins / STATURE_M - 0.243) < 0.03).all()


def test_nearer_joints_have_smaller_depth(data):
    """The nose is in front of the head's top and the spine where a face is seen from the front."""
    index = {joint: row for row, joint in enumerate(JOINTS)}
    left, right = (data.joints_3d[:, index[f"{side}_shoulder"]] for side in ("left", "right"))
    frontal = left[:, 0] - right[:, 0] > 0.3
    ahead = data.joints_3d[:, index["nose"], 2] - data.joints_3d[:, index["thorax"], 2]
    assert frontal.any()
    assert (ahead[frontal] < 0.02).all()


def test_a_batch_depends_on_its_step_alone(task):
    first, again, other = task().batch(5), task().batch(5), task().batch(6)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["crop"], other["crop"])
    assert {name: tuple(value.shape) for name, value in first.items()} == {
        "crop": (4, 96, 64, 3),
        "keypoints_image": (4, 17, 2),
        "keypoints_crop": (4, 17, 2),
        "joints_3d": (4, 17, 3),
    }


def test_mirroring_twice_changes_nothing():
    random = np.random.default_rng(0)
    sample = Sample(
        random.integers(0, 256, (96, 64, 3), np.uint8),
        *(random.uniform(-1, 1, (17, 2)).astype(np.float32) for _ in range(2)),
        random.normal(size=(17, 3)).astype(np.float32),
    )
    other = mirrored(sample)
    pixel = (sample.keypoints_crop[4, 0] + 1) * 32
    assert (other.keypoints_crop[1, 0] + 1) * 32 == pytest.approx(63 - pixel, abs=1e-4)
    assert other.joints_3d[1].tolist() == (sample.joints_3d[4] * [-1, 1, 1]).tolist()
    for name, value in vars(mirrored(other)).items():
        np.testing.assert_allclose(value, getattr(sample, name), atol=1e-6)


def test_it_learns_and_is_exported(task, tmp_path):
    trainer = Trainer(task(), Schedule(steps=60, rate=2e-3, warmup=5, average=0.9))
    batch = trainer.task.batch(0)
    losses = [trainer.train_step(batch)["loss"] for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]
    path = tmp_path / "capf.onnx"
    export_lifter(trainer, path)
    assert tuple(value.name for value in graph_edit.load(path).graph.input) == INPUTS


def test_the_estimated_size_is_near_the_true_one(data):
    joints = to_human36m(data.points, "coco_wholebody")
    flat, truth = joints - joints[:, :1], data.joints_3d[..., :2]
    ratios = pixels_per_metre(joints) * (truth**2).sum(axis=(1, 2)) / (flat * truth).sum(axis=(1, 2))
    assert 0.9 < np.median(ratios) < 1
    assert ((ratios > 0.75) & (ratios < 1.1)).all()


def test_the_ablation_sees_no_picture(data, tmp_path):
    assert dataclasses.replace(WITHOUT_CONTEXT, name=LIFTER.name, context=True) == LIFTER
    for context in (True, False):
        task = LifterTask(data, seed=3, batch_size=4, variant=dataclasses.replace(TINY, context=context))
        network, batch = task.network.eval(), task.batch(0)
        given = batch["keypoints_image"], batch["keypoints_crop"]
        with torch.no_grad():
            seen, unseen = (network(normalized(crop), *given) for crop in (batch["crop"], batch["crop"] * 0))
        assert torch.equal(seen, unseen) == (not context)
        assert export_onnx(network, tmp_path / "a.onnx").samples == 8


def test_the_errors_of_a_file(tmp_path, task):
    """A network at the root is off by the mean length of the joints."""
    network = build(TINY)
    for value in network.volume_net.head[1].parameters():
        torch.nn.init.zeros_(value)
    export_onnx(network, tmp_path / "zero.onnx", ExportOptions(max_difference=np.inf))
    seeds = range(7_000, 7_003)
    joints = np.stack([person.joints_3d for seed in seeds for person in render_scene(seed).people])
    found = measure_lifter(tmp_path / "zero.onnx", seeds)
    assert found["MPJPE"] == pytest.approx(1000 * np.linalg.norm(joints, axis=2).mean(), rel=1e-4)


def test_scenes_without_joints_in_space_are_refused(data, tmp_path):
    content = {name: value for name, value in vars(data).items() if name != "joints_3d"}
    np.savez(tmp_path / "train.npz", **content)
    with pytest.raises(ValueError, match=r"train\.npz holds no joints_3d; remove it"):
        load_or_render(tmp_path / "train.npz", [])
