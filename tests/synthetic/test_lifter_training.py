"""Training of Context-Aware PoseFormer: exact joints in space, batches, and that it learns."""

import dataclasses

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from ensemble.keypoints import keypoint_set  # noqa: E402
from ensemble.keypoints.human36m import STATURE_M, pixels_per_metre, to_human36m  # noqa: E402
from export import graph_edit  # noqa: E402
from export.checkpoint import exporter_of, read_checkpoint  # noqa: E402
from export.families import serve_pose_file  # noqa: E402
from export.families.poseformer import export as poseformer  # noqa: E402
from export.families.poseformer.export import export_onnx  # noqa: E402
from export.families.poseformer.network import build  # noqa: E402
from export.families.poseformer.variants import INPUTS  # noqa: E402
from export.onnx_export import ExportOptions  # noqa: E402
from synthetic.accuracy import CHECKOUT  # noqa: E402
from synthetic.dataset import _render, collect, load_or_render  # noqa: E402
from synthetic.lifter_accuracy import measure_lifter  # noqa: E402
from synthetic.lifter_task import LIFTER, PLAIN, WITHOUT_CONTEXT, LifterTask, Sample, mirrored  # noqa: E402
from synthetic.network_files import export_lifter  # noqa: E402
from synthetic.pose_task import POSE, normalized  # noqa: E402
from synthetic.scene import render_scene  # noqa: E402
from synthetic.trainer import Schedule, Trainer, save  # noqa: E402

pytestmark = pytest.mark.torch

TINY = dataclasses.replace(LIFTER, width=16, depth=1, input_size=(64, 96))
JOINTS = keypoint_set("human36m").names


@pytest.fixture(scope="module")
def data():
    return collect([_render(seed) for seed in range(7_000, 7_006)])


@pytest.fixture
def task(data):
    return lambda: LifterTask(data, seed=3, batch_size=4, variant=TINY)


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


@pytest.mark.parametrize("context", ["maps", "zeros", "none"])
def test_lifters_of_coordinates_alone_see_no_picture(data, tmp_path, context):
    task = LifterTask(data, seed=3, batch_size=4, variant=dataclasses.replace(TINY, context=context))
    network, batch = task.network.eval(), task.batch(0)
    given = batch["keypoints_image"], batch["keypoints_crop"]
    with torch.no_grad():
        torch.nn.init.normal_(network.volume_net.head[1].weight)
        seen, unseen = (network(normalized(crop), *given) for crop in (batch["crop"], batch["crop"] * 0))
    assert torch.equal(seen, unseen) == (context != "maps")
    assert export_onnx(network, tmp_path / "a.onnx").samples == 8
    assert tuple(value.name for value in graph_edit.load(tmp_path / "a.onnx").graph.input) == INPUTS


def test_the_compared_lifters_have_the_same_size():
    lifters = [build(variant).volume_net for variant in (LIFTER, WITHOUT_CONTEXT, PLAIN)]
    sizes = [sum(value.numel() for value in lifter.parameters()) for lifter in lifters]
    assert sizes[0] == sizes[1]
    assert 0.9 * sizes[0] < sizes[2] < sizes[0]


def test_the_frozen_backbone_is_that_of_the_pose_network(task):
    backbone, crops = task().network.backbone, normalized(task().batch(0)["crop"])
    model = onnx.load(CHECKOUT / "weights" / f"{POSE.name}.onnx")
    pooled = next(
        node.output[0] for node in model.graph.node if node.name == "/backbone/stage4/stage4.2/final_conv/Mul"
    )
    model.graph.output.append(onnx.helper.make_tensor_value_info(pooled, onnx.TensorProto.FLOAT, None))
    large = torch.nn.functional.interpolate(crops, POSE.input_size[::-1])
    (expected,) = graph_edit.cpu_session(model, threads=1).run([pooled], {"input": large.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(backbone(large)[3].numpy(), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert not backbone.training
    assert not any(value.requires_grad for value in backbone.parameters())


def test_training_places_a_person_anywhere_in_the_picture(task):
    points = task().batch(0)["keypoints_image"]
    bones = (points[:, 1] - points[:, 4]).norm(dim=1)
    assert points[:, 0].std() > 0.1
    assert bones.max() > 1.2 * bones.min()


def test_a_checkpoint_of_the_training_is_exported_and_verified(data, tmp_path):
    trainer = Trainer(LifterTask(data, seed=3, batch_size=1), Schedule(steps=1))
    save(trainer, tmp_path / "capf.pt")
    export_lifter(trainer, tmp_path / "expected.onnx")
    checkpoint = read_checkpoint(tmp_path / "capf.pt")
    assert exporter_of(checkpoint) is poseformer
    report = poseformer.export(checkpoint, tmp_path / "capf.onnx", ExportOptions(precision="fp16-weights"))
    assert report.network == LIFTER.name
    names = ("capf", "expected")
    one, other = (graph_edit.load(tmp_path / f"{name}.onnx").graph.SerializeToString() for name in names)
    assert one == other
    network = serve_pose_file(tmp_path / "capf.onnx").model.network
    inputs = {"lift_crops": np.zeros((1, 256, 192, 3), np.uint8)}
    inputs |= {name: np.zeros((1, 17, 2), np.float32) for name in INPUTS[1:]}
    compared = poseformer.original(checkpoint, network)
    with torch.no_grad():
        assert compared.module(*compared.prepare(inputs).values()).shape == (1, 17, 3)


def test_the_errors_of_a_file(tmp_path, task):
    """A network at the root is off by the mean length of the joints."""
    network = build(TINY)
    for value in network.volume_net.head[1].parameters():
        torch.nn.init.zeros_(value)
    export_onnx(network, tmp_path / "zero.onnx", ExportOptions(max_difference=np.inf))
    seeds = range(7_000, 7_003)
    joints = np.stack([person.joints_3d for seed in seeds for person in render_scene(seed).people])
    found = measure_lifter(tmp_path / "zero.onnx", seeds)
    assert found["people"] == len(joints)
    assert found["MPJPE_mm"] == pytest.approx(1000 * np.linalg.norm(joints, axis=2).mean(), abs=0.06)


def test_scenes_without_joints_in_space_are_refused(data, tmp_path):
    content = {name: value for name, value in vars(data).items() if name != "joints_3d"}
    np.savez(tmp_path / "train.npz", **content)
    with pytest.raises(ValueError, match=r"train\.npz holds no joints_3d; remove it"):
        load_or_render(tmp_path / "train.npz", [])
