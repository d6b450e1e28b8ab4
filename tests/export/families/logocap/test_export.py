"""Checkpoints and ONNX files: strict loading, one file for every size, compared before it is written, served form."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from ensemble.geometry import PaddedFit  # noqa: E402
from export import graph_edit  # noqa: E402
from export.checkpoint import exporter_of, read_checkpoint  # noqa: E402
from export.families import PoseOptions, serve_pose_file  # noqa: E402
from export.families.logocap import OUTPUTS, export  # noqa: E402
from export.families.logocap.export import aligned, example_picture, export_onnx, stages_of  # noqa: E402
from export.families.logocap.forms import FlipTested  # noqa: E402
from export.families.logocap.network import LogoCap  # noqa: E402
from export.families.logocap.variants import VARIANTS  # noqa: E402
from export.families.top_down import MEAN, STD  # noqa: E402
from export.onnx_export import EXPORTER, ExportOptions  # noqa: E402
from tests.networks import graph_of  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def exported(tiny_logocap, tmp_path_factory):
    """A tiny network, its file and the report."""
    network, path = tiny_logocap(), tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    return network, path, export_onnx(network, path, ExportOptions(checkpoint_sha256="abc"))


def run(path, picture):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip(OUTPUTS, session.run(OUTPUTS, {"input": picture.numpy()}), strict=True))


@pytest.mark.parametrize("size", [(128, 128), (192, 448), (64, 64)])
def test_the_file_equals_pytorch_at_any_size(exported, size):
    network, path, report = exported
    assert report.difference.rms < 1e-4
    picture = example_picture(*size, seed=7)
    stages = stages_of(FlipTested(network), picture)
    expected = {name: value.numpy() for name, value in zip(OUTPUTS, stages.people, strict=True)}
    clear = export._margins(stages) > 1e-4
    assert clear.sum() > 10
    found = aligned(expected, run(path, picture), clear)
    for name in OUTPUTS:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-3, err_msg=name)


def test_the_form_of_the_file(exported):
    _, path, _ = exported
    model = onnx.load(path)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "input": [1, 3, "height", "width"],
        "keypoints": [30, 17, 2],
        "keypoint_scores": [30, 17],
        "person_scores": [30],
        "center_scores": [30],
    }
    assert model.opset_import[0].version == 17


def test_the_metadata_of_the_file(exported):
    _, path, _ = exported
    (entry,) = onnx.load(path).metadata_props
    assert entry.key == "cigpose_meta"
    assert json.loads(entry.value) == {
        "short_side": 128,
        "mean": list(MEAN),
        "std": list(STD),
        "keypoint_set": "coco",
        "num_keypoints": 17,
        "family": "logocap",
        "variant": "tiny",
        "precision": "fp32",
        "flip_test": True,
        "checkpoint_sha256": "abc",
        "exporter": EXPORTER,
    }


@pytest.mark.parametrize("precision", ["fp16", "fp16-weights"])
def test_reduced_precisions_leave_the_filters_in_float32(tiny_logocap, tmp_path, precision):
    network = tiny_logocap(offsets=64, embedding=64, filter_layers=(32, 32, 32))
    options = ExportOptions(precision=precision, max_difference=2.0)
    export_onnx(network, tmp_path / "half.onnx", options)
    stored = {tensor.name: tensor for tensor in onnx.load(tmp_path / "half.onnx").graph.initializer}
    kinds = {tensor.data_type for name, tensor in stored.items() if "joints_mlp" in name}
    assert kinds == {onnx.TensorProto.FLOAT}
    assert onnx.TensorProto.FLOAT16 in {tensor.data_type for tensor in stored.values()}


def test_a_file_that_differs_is_not_written(tiny_logocap, tmp_path, monkeypatch):
    """Also where the compared pictures show nobody to the network."""
    network = tiny_logocap()
    with torch.no_grad():
        network.final_layer_cls.bias[-1] -= 100
    traced = export._traced(FlipTested(network))
    weights = next(each for each in traced.graph.initializer if each.name.endswith("joints_mlp.9.weight"))
    weights.CopyFrom(onnx.numpy_helper.from_array(1.02 * onnx.numpy_helper.to_array(weights), weights.name))
    monkeypatch.setattr(export, "_traced", lambda form: traced)
    with pytest.raises(ValueError, match="not written: ONNX Runtime and PyTorch differ"):
        export_onnx(network, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_a_network_in_training_mode_is_refused(tiny_logocap, tmp_path):
    with pytest.raises(ValueError, match="the network is in training mode"):
        export_onnx(tiny_logocap().train(), tmp_path / "a.onnx")


@pytest.mark.parametrize("name", VARIANTS)
def test_official_checkpoints_are_recognised_and_loaded_strictly(tmp_path, name, monkeypatch):
    state = {entry: torch.zeros(()).expand(value.shape) for entry, value in _entries(name).items()}
    torch.save(state, tmp_path / f"{name}.pth.tar")
    checkpoint = read_checkpoint(tmp_path / f"{name}.pth.tar")
    assert exporter_of(checkpoint).__name__ == export.__name__
    monkeypatch.setattr(export, "export_onnx", lambda network, *_: network.variant.name)
    assert export.export(checkpoint, tmp_path / "a.onnx", ExportOptions()) == name
    other = next(each for each in VARIANTS if each != name)
    with pytest.raises(ValueError, match=f"this file is {name}, you asked for {other}"):
        export.export(checkpoint, tmp_path / "a.onnx", ExportOptions(other))
    state["surplus"] = state.pop("joints_mlp.9.bias")
    torch.save(state, tmp_path / "damaged.pth.tar")
    with pytest.raises(ValueError, match=r"missing: joints_mlp\.9\.bias; unknown: surplus"):
        export.export(read_checkpoint(tmp_path / "damaged.pth.tar"), tmp_path / "a.onnx", ExportOptions())


def _entries(name):
    with torch.device("meta"):
        return LogoCap(VARIANTS[name]).state_dict()


def test_the_served_form_takes_bgr_pixels(exported):
    _, path, _ = exported
    served = serve_pose_file(path, PoseOptions(flip_test=True))  # it averages with the mirrored picture already
    assert served.model.fit == PaddedFit(128)
    assert (served.model.keypoint_set, served.model.candidates) == ("coco", 30)
    assert served.model.source.items() >= {"family": "logocap", "variant": "tiny", "flip_test": "True"}.items()
    image_bgr = np.random.default_rng(0).integers(0, 256, (128, 192, 3), np.uint8)
    rgb = (image_bgr[..., ::-1] - np.array(MEAN)) / STD
    expected = run(path, torch.from_numpy(rgb.transpose(2, 0, 1)[None].astype(np.float32)))
    session = graph_edit.cpu_session(graph_of(served))
    found = session.run(None, {"fitted": image_bgr})
    for array, name in zip(found, OUTPUTS, strict=True):
        np.testing.assert_allclose(array, expected[name], atol=1e-3)


def test_files_without_metadata_are_recognised_by_their_outputs(exported, tmp_path):
    model = onnx.load(exported[1])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(ValueError, match=r"bare\.onnx: the file states no short side; set it with --input-size"):
        serve_pose_file(tmp_path / "bare.onnx")
    assert serve_pose_file(tmp_path / "bare.onnx", PoseOptions(input_size=(768, 512))).model.fit == PaddedFit(512)
    with pytest.raises(ValueError, match="the short side must be a multiple of 64, not 500"):
        serve_pose_file(tmp_path / "bare.onnx", PoseOptions(input_size=(500, 700)))


def test_files_of_another_form_are_refused(exported, tmp_path):
    model = onnx.load(exported[1])
    onnx.helper.set_model_props(model, {"cigpose_meta": json.dumps({"family": "logocap", "keypoint_set": "crowdpose"})})
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(ValueError, match="keypoint set crowdpose has 14 points, the network answers 17"):
        serve_pose_file(tmp_path / "a.onnx", PoseOptions(input_size=(128, 128)))
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 192
    onnx.save(model, tmp_path / "b.onnx")
    with pytest.raises(ValueError, match=r"inputs: input \[1, 3, 0, 192\].*a LOGO-CAP file has a picture"):
        serve_pose_file(tmp_path / "b.onnx")


def test_the_original_of_a_served_network(tiny_logocap, tiny_logocap_variant, exported, tmp_path, monkeypatch):
    monkeypatch.setitem(VARIANTS, "tiny", tiny_logocap_variant())
    network = serve_pose_file(exported[1]).model.network
    torch.save(tiny_logocap().state_dict(), tmp_path / "tiny.pth")
    original = export.original(read_checkpoint(tmp_path / "tiny.pth"), network)
    pictures = np.random.default_rng(1).integers(0, 256, (2, 128, 192, 3), np.uint8)
    samples = [original.prepare({"fitted": picture}) for picture in pictures]
    rows = original.clearest({"input": torch.cat([sample["input"] for sample in samples])}, 3)
    assert len(rows) == 3
    assert (np.diff(rows) > 0).all()
    with torch.no_grad():
        expected = torch.cat([original.module(sample["input"]).keypoints for sample in samples]).numpy()
    session = graph_edit.cpu_session(graph_of(serve_pose_file(exported[1])))
    found = np.concatenate([session.run(["candidate_keypoints"], {"fitted": each})[0] for each in pictures])
    np.testing.assert_allclose(found[rows], expected[rows], atol=1e-2)
