"""Export of lifters to ONNX: official checkpoints, the form of the file, equality with PyTorch, the served form."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export import graph_edit  # noqa: E402
from export.checkpoint import Checkpoint, exporter_of, read_checkpoint  # noqa: E402
from export.families import PoseOptions, serve_pose_file  # noqa: E402
from export.families.poseformer import export as poseformer  # noqa: E402
from export.families.poseformer.export import example_inputs, export_onnx, original  # noqa: E402
from export.families.poseformer.forms import FlipTested  # noqa: E402
from export.families.poseformer.network import PoseFormer, build  # noqa: E402
from export.families.poseformer.variants import VARIANTS  # noqa: E402
from export.onnx_export import EXPORTER, ExportOptions  # noqa: E402
from tests.networks import graph_of, save_pose_network  # noqa: E402
from tests.tiny_networks import LIFTER_BACKBONES, lifter_network, lifter_variant  # noqa: E402

pytestmark = pytest.mark.torch


def entries_of(variant):
    """Entries of the right names and shapes; the weights are one number, seen through every shape."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in PoseFormer(variant).state_dict().items()}
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}


@pytest.fixture
def tiny_is_known(monkeypatch):
    known = {variant.name: variant for variant in map(lifter_variant, LIFTER_BACKBONES)}
    monkeypatch.setattr(poseformer, "_KNOWN", known)


@pytest.mark.parametrize("kind", LIFTER_BACKBONES)
def test_official_layout_of_a_checkpoint(tmp_path, tiny_is_known, kind):
    network = lifter_network(kind)
    weights = {f"module.{name}": value for name, value in network.state_dict().items()}
    state = torch.optim.AdamW(network.parameters()).state_dict()
    torch.save({"epoch": 7, "lr": 4e-4, "optimizer": state, "model": weights}, tmp_path / "best_epoch.bin")
    checkpoint = read_checkpoint(tmp_path / "best_epoch.bin")
    assert exporter_of(checkpoint) is poseformer
    report = poseformer.export(checkpoint, tmp_path / "a.onnx", ExportOptions())
    assert report.network == f"tiny-{kind}"
    with torch.no_grad():
        expected = network(*example_inputs(network.variant, 2).values()).numpy()
    np.testing.assert_allclose(run(tmp_path / "a.onnx", example_inputs(network.variant, 2)), expected, atol=1e-4)


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_are_recognised_by_their_shapes(tmp_path, name, monkeypatch):
    monkeypatch.setattr("torch.nn.Module.load_state_dict", lambda *_, **__: None)
    checkpoint = Checkpoint(tmp_path / "best_epoch.bin", entries_of(VARIANTS[name]))
    assert exporter_of(checkpoint) is poseformer
    assert poseformer.load_variant(checkpoint, VARIANTS.values(), build)[0] == VARIANTS[name]
    other = next(each for each in VARIANTS if each != name)
    with pytest.raises(ValueError, match=rf"best_epoch\.bin: this file is {name}, you asked for {other}"):
        poseformer.export(checkpoint, tmp_path / "a.onnx", ExportOptions(variant=other))


def test_what_is_wrong_is_named(tmp_path, tiny_is_known):
    state = lifter_network().state_dict()
    del state["volume_net.head.1.bias"]
    expected = r"not the entries of tiny-hrnet; missing: volume_net\.head\.1\.bias"
    with pytest.raises(ValueError, match=expected):
        poseformer.export(Checkpoint(tmp_path / "a.bin", state), tmp_path / "a.onnx", ExportOptions())


def run(path, inputs):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["keypoints_3d"], {name: value.numpy() for name, value in inputs.items()})[0]


@pytest.mark.parametrize("flip_test", [False, True])
@pytest.mark.parametrize("kind", LIFTER_BACKBONES)
def test_the_file_equals_pytorch_at_several_batch_sizes(tmp_path, kind, flip_test):
    network, path = lifter_network(kind), tmp_path / "a.onnx"
    report = export_onnx(network, path, ExportOptions(flip_test=flip_test))
    assert report.samples == 8
    form = FlipTested(network, 64) if flip_test else network
    for count in (1, 2, 5):
        inputs = example_inputs(network.variant, count)
        with torch.no_grad():
            expected = form(*inputs.values()).numpy()
        np.testing.assert_allclose(run(path, inputs), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_the_form_and_the_metadata_of_the_file(tmp_path):
    path = tmp_path / "a.onnx"
    export_onnx(lifter_network("cpn"), path, ExportOptions(flip_test=True, checkpoint_sha256="abc"))
    model = onnx.load(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())} == {
        "crop": ["batch", 3, 96, 64],
        "keypoints_image": ["batch", 17, 2],
        "keypoints_crop": ["batch", 17, 2],
        "keypoints_3d": ["batch", 17, 3],
    }
    assert model.opset_import[0].version == 17
    assert json.loads(model.metadata_props[0].value) == {
        "input_w": 64,
        "input_h": 96,
        "mean": [122.7717, 115.9465, 102.9801],
        "std": [255, 255, 255],
        "keypoint_set": "human36m",
        "num_keypoints": 17,
        "family": "poseformer",
        "variant": "tiny-cpn",
        "precision": "fp32",
        "flip_test": True,
        "checkpoint_sha256": "abc",
        "exporter": EXPORTER,
    }


@pytest.mark.parametrize("precision", ["fp16", "fp16-weights"])
def test_the_lifter_keeps_its_precision(tmp_path, precision):
    network = lifter_network()
    export_onnx(network, tmp_path / "a.onnx", ExportOptions(precision=precision, max_difference=0.5))
    numbers = {"FLOAT": 0, "FLOAT16": 0, "INT64": 0}
    for each in onnx.load(tmp_path / "a.onnx").graph.initializer:
        numbers[onnx.TensorProto.DataType.Name(each.data_type)] += np.prod(each.dims)
    assert 0 < numbers["FLOAT16"] <= sum(value.numel() for value in network.backbone.parameters())
    assert numbers["FLOAT"] >= 0.98 * sum(value.numel() for value in network.volume_net.parameters())


def test_a_network_in_training_mode_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the network is in training mode"):
        export_onnx(lifter_network().train(), tmp_path / "a.onnx")


@pytest.mark.parametrize("kind", LIFTER_BACKBONES)
def test_the_served_form_takes_bgr_pixels(tmp_path, kind, tiny_is_known):
    network, path = lifter_network(kind), tmp_path / "lift.onnx"
    export_onnx(network, path)
    served = serve_pose_file(path)
    assert served.model.source.items() >= {"family": "poseformer", "variant": f"tiny-{kind}"}.items()
    random = np.random.default_rng(0)
    inputs = {
        "lift_crops": random.integers(0, 256, (3, 96, 64, 3), np.uint8),
        "keypoints_image": random.uniform(-1, 1, (3, 17, 2)).astype(np.float32),
        "keypoints_crop": random.uniform(-1.2, 1.2, (3, 17, 2)).astype(np.float32),
    }
    member = served.model.network
    assert {tensor.name: tensor.dims for tensor in (*member.inputs, *member.outputs)} == {
        **{name: value.shape[1:] for name, value in inputs.items()},
        "lifted": (17, 3),
    }
    assert member.outputs[0].exact
    found = graph_edit.cpu_session(graph_of(served)).run(["lifted"], inputs)[0]
    checkpoint = Checkpoint(tmp_path / "a.bin", network.state_dict())
    module, prepare = original(checkpoint, member).module, original(checkpoint, member).prepare
    with torch.no_grad():
        expected = module(*prepare(inputs).values()).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    rgb = (inputs["lift_crops"][..., ::-1] - np.array(network.variant.mean)) / np.array(network.variant.std)
    np.testing.assert_allclose(prepare(inputs)["crop"], rgb.transpose(0, 3, 1, 2), atol=1e-5)


def test_the_flip_test_belongs_into_the_export(tmp_path):
    export_onnx(lifter_network(), tmp_path / "lift.onnx")
    with pytest.raises(ValueError, match=r"lift\.onnx: the flip test of a lifter also mirrors .* export onnx --flip"):
        serve_pose_file(tmp_path / "lift.onnx", PoseOptions(flip_test=True))


def test_another_file_of_this_family_is_refused(tmp_path):
    path = save_pose_network(tmp_path / "net.onnx")
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"cigpose_meta": json.dumps({"family": "poseformer"})})
    onnx.save(model, path)
    with pytest.raises(
        ValueError, match="a lifter has the inputs crop, keypoints_image, keypoints_crop and the output"
    ):
        serve_pose_file(path)


def test_a_file_without_metadata_is_recognised_by_its_inputs(tmp_path):
    export_onnx(lifter_network(), tmp_path / "lift.onnx")
    model = onnx.load(tmp_path / "lift.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "lift.onnx")
    assert serve_pose_file(tmp_path / "lift.onnx").model.default == "pose_3d"
