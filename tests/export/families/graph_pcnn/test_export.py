"""Export to ONNX: described, compared before it is written, from checkpoints of both stages and of a baseline."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export import metadata  # noqa: E402
from export.__main__ import main  # noqa: E402
from export.families import PoseOptions, serve_pose_file  # noqa: E402
from export.families.graph_pcnn.export import _description, export_onnx  # noqa: E402
from export.families.graph_pcnn.network import new  # noqa: E402
from export.families.graph_pcnn.variants import VARIANTS  # noqa: E402
from export.onnx_export import EXPORTER, ExportOptions  # noqa: E402

pytestmark = pytest.mark.torch


def meta_of(path):
    (entry,) = onnx.load(path).metadata_props
    return json.loads(entry.value)


@pytest.mark.parametrize("flip_test", [False, True])
def test_the_form_of_the_file(tiny_graph_pcnn, tmp_path, flip_test):
    path = tmp_path / "a.onnx"
    report = export_onnx(tiny_graph_pcnn(), path, ExportOptions(flip_test=flip_test, checkpoint_sha256="abc"))
    assert (report.network, report.samples) == ("tiny-hrnet", 6)
    assert report.difference.largest < 1e-3
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())} == {
        "input": ["batch", 3, 96, 64],
        "keypoints": ["batch", 17, 2],
        "coarse_keypoints": ["batch", 17, 2],
        "scores": ["batch", 17],
    }
    assert meta_of(path) == {
        "input_w": 64,
        "input_h": 96,
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
        "channel_order": "rgb",
        "keypoint_set": "coco",
        "num_keypoints": 17,
        "family": "graph_pcnn",
        "variant": "tiny-hrnet",
        "heatmap_w": 16,
        "heatmap_h": 24,
        "stage2": "trained",
        "precision": "fp32",
        "flip_test": flip_test,
        "checkpoint_sha256": "abc",
        "exporter": EXPORTER,
    }


def test_official_resnets_are_fed_bgr():
    with torch.device("meta"):
        orders = {name: new(variant).variant.baseline.channel_order for name, variant in VARIANTS.items()}
    assert orders == {name: "bgr" if "resnet" in name else "rgb" for name in VARIANTS}


def test_the_same_network_gives_the_same_bytes(tiny_graph_pcnn, tmp_path):
    for name in ("a", "b"):
        export_onnx(tiny_graph_pcnn(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("precision", ["fp16", "fp16-weights"])
def test_reduced_precision_is_reported(tiny_graph_pcnn, tmp_path, precision):
    full = export_onnx(tiny_graph_pcnn("resnet", width=40), tmp_path / "a.onnx")
    options = ExportOptions(precision=precision, max_difference=1.0)
    found = export_onnx(tiny_graph_pcnn("resnet", width=40), tmp_path / "b.onnx", options)
    assert (found.samples, found.bound) == (24, 1.0)
    assert found.difference.rms > full.difference.rms
    assert (tmp_path / "b.onnx").stat().st_size < (tmp_path / "a.onnx").stat().st_size


def test_nothing_is_written_when_the_file_would_answer_differently(tiny_graph_pcnn, tmp_path, monkeypatch):
    def wrong(model, content, write=metadata.write):
        write(model, content)
        (bias,) = (tensor for tensor in model.graph.initializer if tensor.name == "reg.bias")
        bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 0.01, bias.name))

    monkeypatch.setattr(metadata, "write", wrong)
    with pytest.raises(ValueError, match=r"a\.onnx not written: .* differ, largest 0\.01, .*; allowed rms: 0\.0002"):
        export_onnx(tiny_graph_pcnn(), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_a_network_in_training_mode_is_refused(tiny_graph_pcnn, tmp_path):
    with pytest.raises(ValueError, match="the network is in training mode"):
        export_onnx(tiny_graph_pcnn().train(), tmp_path / "a.onnx")


@pytest.fixture
def command(tmp_path):
    """Function: state dict and options -> exit code of `export onnx`, which writes a.onnx."""

    def run(state, *options):
        torch.save(state, tmp_path / "mine_96x64.pth")
        files = ["--checkpoint", str(tmp_path / "mine_96x64.pth"), "--output", str(tmp_path / "a.onnx")]
        return main(["onnx", *files, *options])

    return run


def test_the_command_recognises_both_stages(command, tiny_graph_pcnn, tmp_path, capsys):
    assert command(tiny_graph_pcnn("resnet").state_dict()) == 0
    assert "mine_96x64.pth: graphpcnn_resnet_17_96x64\n" in capsys.readouterr().out
    assert [meta_of(tmp_path / "a.onnx")[key] for key in ("stage2", "channel_order")] == ["trained", "bgr"]


def test_the_command_starts_both_branches_from_a_baseline(
    command, tiny_heatmap_network, tiny_heatmap_variant, tmp_path, capsys, monkeypatch
):
    from export.families import families
    from export.families.graph_pcnn import checkpoint, variants

    tiny = variants.variant_of(tiny_heatmap_variant("hrnet"))
    monkeypatch.setitem(variants.VARIANTS, tiny.name, tiny)
    monkeypatch.setitem(families()["graph_pcnn"].variants, tiny.name, "")
    monkeypatch.setattr(checkpoint.baselines, "variant_called", lambda _: tiny.baseline)
    assert command(tiny_heatmap_network("hrnet").state_dict(), "--variant", tiny.name) == 0
    assert f"{tiny.name}, stage 2 untrained (no public weights of stage 2 exist; " in capsys.readouterr().out
    assert meta_of(tmp_path / "a.onnx")["stage2"] == "untrained"
    network = serve_pose_file(tmp_path / "a.onnx").model
    assert network.source["stage2"] == "untrained"
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    refined, coarse, _ = session.run(None, {"input": np.random.default_rng(0).normal(size=(2, 3, 96, 64)).astype("f")})
    np.testing.assert_array_equal(refined, coarse)


def test_what_cannot_be_served_is_refused(tiny_graph_pcnn, tmp_path):
    path = tmp_path / "a.onnx"
    export_onnx(tiny_graph_pcnn(), path)
    with pytest.raises(
        ValueError, match=r"a\.onnx: .*use `python -m export onnx --flip-test`, and leave --flip-test out"
    ):
        serve_pose_file(path, PoseOptions(flip_test=True))
    model = onnx.load(path)
    metadata.write(model, meta_of(path) | {"heatmap_w": 15})
    onnx.save(model, path)
    with pytest.raises(ValueError, match="says heatmap_w 15, is 16"):
        serve_pose_file(path)
    del model.graph.output[1]
    onnx.save(model, path)
    with pytest.raises(ValueError, match="Graph-PCNN has the outputs keypoints, coarse_keypoints, scores"):
        serve_pose_file(path)


def test_the_served_form(tiny_graph_pcnn, tmp_path):
    export_onnx(tiny_graph_pcnn(), tmp_path / "a.onnx")
    model = serve_pose_file(tmp_path / "a.onnx").model
    assert (model.keypoint_set, model.crop.size, model.max_batch_size) == ("coco", (64, 96), 32)
    assert (model.head.grid, model.head.coarse) == ((16, 24), True)
    assert _description(tiny_graph_pcnn())["heatmap_h"] == 24
