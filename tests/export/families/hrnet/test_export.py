"""Export to ONNX: described, equal to PyTorch, and served in the channel order of its training."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export import graph_edit  # noqa: E402
from export.__main__ import main  # noqa: E402
from export.checkpoint import Checkpoint  # noqa: E402
from export.families import serve_pose_file  # noqa: E402
from export.families.crops import example_crops, normalised  # noqa: E402
from export.families.hrnet.export import export  # noqa: E402
from export.families.hrnet.forms import FlipTested  # noqa: E402
from export.families.hrnet.network import build  # noqa: E402
from export.families.hrnet.variants import VARIANTS  # noqa: E402
from export.onnx_export import EXPORTER, ExportOptions  # noqa: E402
from tests.networks import graph_of  # noqa: E402

pytestmark = pytest.mark.torch

KINDS = ["resnet", "basic", "hrnet"]


@pytest.fixture
def exported(tiny_heatmap_network, tmp_path):
    """Function: kind and options -> (network, file, report)."""

    def run(kind, **options):
        network, path = tiny_heatmap_network(kind), tmp_path / "a.onnx"
        checkpoint = Checkpoint(tmp_path / "mine_96x64.pth", network.state_dict())
        return network, path, export(checkpoint, path, ExportOptions(checkpoint_sha256="abc", **options))

    return run


def run(path, crops):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["heatmaps"], {"input": crops.numpy()})[0]


@pytest.mark.parametrize("flip_test", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_file_equals_pytorch_at_several_batch_sizes(exported, tiny_heatmap_variant, kind, flip_test):
    network, path, report = exported(kind, flip_test=flip_test)
    assert report.samples == 6
    variant = tiny_heatmap_variant(kind)
    for count in (1, 5):
        crops = example_crops(variant, count, seed=count)
        with torch.no_grad():
            expected = (FlipTested(network, variant) if flip_test else network)(crops).numpy()
        np.testing.assert_allclose(run(path, crops), expected, atol=1e-4 * expected.std())


def test_the_form_and_the_metadata_of_the_file(exported):
    _, path, _ = exported("resnet")
    model = onnx.load(path)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"input": ["batch", 3, 96, 64], "heatmaps": ["batch", 17, 24, 16]}
    (entry,) = model.metadata_props
    assert json.loads(entry.value) == {
        "input_w": 64,
        "input_h": 96,
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
        "channel_order": "bgr",
        "keypoint_set": "coco",
        "num_keypoints": 17,
        "family": "hrnet",
        "variant": "pose_resnet_17_96x64",
        "decoding": "quarter",
        "precision": "fp32",
        "flip_test": False,
        "checkpoint_sha256": "abc",
        "exporter": EXPORTER,
    }


@pytest.mark.parametrize(("kind", "order"), [("resnet", "bgr"), ("hrnet", "rgb")])
def test_the_served_file_is_fed_in_the_order_of_its_training(exported, kind, order):
    network, path, _ = exported(kind)
    served = serve_pose_file(path)
    crops = np.random.default_rng(0).integers(0, 256, (3, 96, 64, 3), np.uint8)
    with torch.no_grad():
        expected, swapped = (
            network(normalised({"crops": c}, order)["input"]).numpy() for c in (crops, crops[..., ::-1])
        )
    (found,) = graph_edit.cpu_session(graph_of(served)).run(["heatmaps"], {"crops": crops})
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.std())
    assert np.abs(found - swapped).max() > 0.1 * expected.std()
    head = served.model.head
    assert (head.size, head.decoding, served.model.source["family"]) == ((16, 24), "quarter", "hrnet")


@pytest.mark.parametrize("precision", ["fp16", "fp16-weights"])
@pytest.mark.parametrize("flip_test", [False, True])
def test_reduced_precision(exported, precision, flip_test):
    _, path, report = exported("resnet", precision=precision, flip_test=flip_test)
    assert 1e-4 < report.difference.rms < report.bound
    types = {tensor.data_type for tensor in onnx.load(path).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in types


def test_the_command(tiny_heatmap_network, tmp_path, capsys):
    torch.save(tiny_heatmap_network("hrnet").state_dict(), tmp_path / "mine_96x64.pth.tar")
    files = ["--checkpoint", str(tmp_path / "mine_96x64.pth.tar"), "--output", str(tmp_path / "a.onnx")]
    assert main(["onnx", *files]) == 0
    assert "mine_96x64.pth.tar: pose_hrnet_w4_96x64" in capsys.readouterr().out
    assert main(["onnx", *files, "--variant", "pose_resnet_50_256x192"]) == 1
    assert "this file is pose_hrnet_w4_256x192, you asked for pose_resnet_50_256x192" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_every_published_variant_exports(name, tmp_path, randomized):
    checkpoint = Checkpoint(tmp_path / f"{name}.pth", randomized(build(VARIANTS[name])).state_dict())
    report = export(checkpoint, tmp_path / "a.onnx", ExportOptions(flip_test=True))
    assert report.network == name
    assert report.difference.rms < report.bound
