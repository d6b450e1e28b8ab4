"""Export to ONNX: described, checked before it is written."""

import json

import onnx
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export import metadata  # noqa: E402
from export.families.graph_pcnn.export import REFINED, description, export_onnx  # noqa: E402
from export.families.graph_pcnn.variants import VARIANTS  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("flip_test", [False, True])
def test_the_form_of_the_file(tiny_graph_pcnn, tmp_path, flip_test):
    network, path = tiny_graph_pcnn(), tmp_path / "a.onnx"
    found = export_onnx(network, path, flip_test=flip_test, provenance={"checkpoint_sha256": "abc"})
    assert (found.points, found.moved) == (6 * 17, 0)
    assert 0 <= found.refined <= REFINED
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())} == {
        "input": ["batch", 3, 96, 64],
        "keypoints": ["batch", 17, 2],
        "coarse_keypoints": ["batch", 17, 2],
        "scores": ["batch", 17],
    }
    (entry,) = onnx.load(path).metadata_props
    meta = json.loads(entry.value)
    assert meta["flip_test"] is flip_test
    assert {key: meta[key] for key in ("family", "checkpoint_sha256", "precision", "heatmap_w", "heatmap_h")} == {
        **{"family": "graph_pcnn", "checkpoint_sha256": "abc", "precision": "fp32", "heatmap_w": 16, "heatmap_h": 24}
    }


def test_official_resnets_are_fed_bgr():
    orders = {name: description(variant)["channel_order"] for name, variant in VARIANTS.items()}
    assert orders == {name: "bgr" if "resnet" in name else "rgb" for name in VARIANTS}


def test_the_same_network_gives_the_same_bytes(tiny_graph_pcnn, tmp_path):
    for name in ("a", "b"):
        export_onnx(tiny_graph_pcnn(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("precision", ["fp16", "fp16-weights"])
def test_reduced_precision_is_reported(tiny_graph_pcnn, tmp_path, precision):
    full = export_onnx(tiny_graph_pcnn("resnet", width=40), tmp_path / "a.onnx")
    found = export_onnx(tiny_graph_pcnn("resnet", width=40), tmp_path / "b.onnx", precision=precision)
    assert found.refined > full.refined
    assert found.moved < found.points // 4
    assert (tmp_path / "b.onnx").stat().st_size < (tmp_path / "a.onnx").stat().st_size


def test_nothing_is_written_when_the_file_would_answer_differently(tiny_graph_pcnn, tmp_path, monkeypatch):
    def wrong(model, content, write=metadata.write):
        write(model, content)
        (bias,) = (tensor for tensor in model.graph.initializer if tensor.name == "reg.bias")
        bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 0.01, bias.name))

    monkeypatch.setattr(metadata, "write", wrong)
    with pytest.raises(
        ValueError, match=r"a\.onnx not written: .* 0 of 102 guided points moved, .* at most 0\.01 cells"
    ):
        export_onnx(tiny_graph_pcnn(), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_what_is_refused(tiny_graph_pcnn, tmp_path):
    with pytest.raises(ValueError, match="unknown precision 'int8'; known: fp32, fp16, fp16-weights"):
        export_onnx(tiny_graph_pcnn(), tmp_path / "a.onnx", precision="int8")
    with pytest.raises(ValueError, match="tiny-hrnet is in training mode"):
        export_onnx(tiny_graph_pcnn().train(), tmp_path / "a.onnx")
