"""Export to ONNX: correct at every batch size, with metadata, compared before it is written."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

from export import graph_edit, metadata  # noqa: E402
from export.__main__ import main  # noqa: E402
from export.families.cigpose import export  # noqa: E402
from export.families.cigpose.export import export_onnx  # noqa: E402
from export.families.cigpose.forms import FlipTested  # noqa: E402
from export.families.cigpose.network import build  # noqa: E402
from export.families.cigpose.variants import VARIANTS  # noqa: E402
from export.onnx_export import EXPORTER, ExportOptions, trace  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def exported(tiny_network, tmp_path_factory):
    """A tiny network, its file and the report."""
    network = tiny_network()
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    return network, path, export_onnx(network, path, ExportOptions(checkpoint_sha256="abc"))


def run(path, crops):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["simcc_x", "simcc_y"], {"input": np.asarray(crops)})


@pytest.mark.parametrize("keypoint_set", ["coco_wholebody", "coco", "crowdpose"])
@pytest.mark.parametrize("gcn_layers", [1, 2])
def test_the_file_equals_pytorch_at_several_batch_sizes(keypoint_set, gcn_layers, tiny_network, tmp_path):
    network = tiny_network(keypoint_set, gcn_layers=gcn_layers)
    report = export_onnx(network, tmp_path / "a.onnx")
    assert report.samples == 6
    for count in (1, 5):
        crops = export.decided_crops(network, count).detach()
        with torch.no_grad():
            expected = network(crops)
        for rows, answer in zip(expected, run(tmp_path / "a.onnx", crops), strict=True):
            np.testing.assert_allclose(answer, rows, atol=1e-4 * float(rows.std()))


def test_the_form_of_the_file(exported):
    _, path, _ = exported
    model = onnx.load(path)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"input": ["batch", 3, 96, 64], "simcc_x": ["batch", 17, 128], "simcc_y": ["batch", 17, 192]}
    assert [value.name for value in model.graph.output] == ["simcc_x", "simcc_y"]
    assert model.opset_import[0].version == 17


def test_the_metadata_of_the_file(exported):
    network, path, _ = exported
    (entry,) = onnx.load(path).metadata_props
    assert entry.key == "cigpose_meta"
    assert json.loads(entry.value) == {
        "input_w": 64,
        "input_h": 96,
        "split_ratio": 2.0,
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
        "keypoint_set": "coco",
        "num_keypoints": 17,
        "family": "cigpose",
        "variant": network.variant.name,
        "precision": "fp32",
        "flip_test": False,
        "checkpoint_sha256": "abc",
        "exporter": EXPORTER,
    }


def test_layers_unused_at_inference_are_dropped(exported):
    network, path, _ = exported
    stored = sum(np.prod(tensor.dims) for tensor in onnx.load(path).graph.initializer)
    unused = sum(p.numel() for name in ("mlp", "cls_x", "cls_y") for p in getattr(network.head, name).parameters())
    assert stored <= sum(p.numel() for p in network.parameters()) - unused + 1000  # folded constants


def test_no_data_dependent_operator_is_used(exported):
    operators = {node.op_type for node in onnx.load(exported[1]).graph.node}
    assert not operators & {"NonZero", "ScatterND", "ScatterElements", "TopK", "Loop", "If"}


def test_the_same_network_gives_the_same_bytes(exported, tmp_path):
    network, path, _ = exported
    export_onnx(network, tmp_path / "again.onnx", ExportOptions(checkpoint_sha256="abc"))
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_nothing_is_written_when_the_answers_differ(tiny_network, tmp_path, monkeypatch):
    def wrong(model, content, write=metadata.write):
        write(model, content)
        largest = max(model.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
        values = onnx.numpy_helper.to_array(largest) * np.float32(1.2)
        largest.CopyFrom(onnx.numpy_helper.from_array(values, largest.name))

    monkeypatch.setattr(metadata, "write", wrong)
    (tmp_path / "a.onnx").write_text("old")
    with pytest.raises(ValueError, match=r"a\.onnx not written: .* differ, .*; allowed rms: 0\.0002"):
        export_onnx(tiny_network(), tmp_path / "a.onnx")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_nan_weights_are_rejected(tiny_network, tmp_path):
    network = tiny_network()
    network.head.cls_gx.bias.data[3] = float("nan")
    with pytest.raises(ValueError, match="not written"):
        export_onnx(network, tmp_path / "a.onnx")


def test_a_value_baked_into_the_graph_is_an_error():
    class Baked(torch.nn.Module):
        def forward(self, crops):
            shifted = crops if crops.sum() > 0 else -crops
            return shifted.sum((2, 3)), shifted.sum((2, 3))

    with pytest.raises(ValueError, match="valid for one input only"):
        trace(Baked().eval(), {"input": torch.zeros(2, 3, 8, 8)}, {"simcc_x": (3,), "simcc_y": (3,)})


def test_the_command(tiny_network, tmp_path, capsys, monkeypatch):
    network = tiny_network()
    monkeypatch.setitem(VARIANTS, network.variant.name, network.variant)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "a.pth")
    arguments = ["onnx", "--checkpoint", str(tmp_path / "a.pth"), "--output", str(tmp_path / "a.onnx")]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "a.pth: tiny-coco" in out
    assert "peak memory" in out
    meta = json.loads(onnx.load(tmp_path / "a.onnx").metadata_props[0].value)
    assert meta["checkpoint_sha256"] == graph_edit.sha256(tmp_path / "a.pth")
    assert main([*arguments, "--variant", "cigpose-m_coco_256x192"]) == 1
    assert "this file is tiny-coco, you asked for cigpose-m_coco_256x192" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*arguments, "--variant", "other"])
    assert "choose from" in capsys.readouterr().err


def test_without_pytorch_the_command_names_what_to_install(tmp_path):
    code = "import sys; sys.modules['torch'] = None; from export.__main__ import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["onnx", "--checkpoint", str(tmp_path / "a.pth"), "--output", str(tmp_path / "a.onnx")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install -r requirements/torch.txt" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_every_published_variant_exports(name, tmp_path, randomized):
    network = randomized(build(VARIANTS[name]))
    report = export_onnx(network, tmp_path / f"{name}.onnx")
    assert report.difference.rms < report.bound


def meta_of(path):
    return json.loads(onnx.load(path).metadata_props[0].value)


def test_flip_test_inside_the_file(tiny_network, tmp_path):
    network = tiny_network("crowdpose")
    export_onnx(network, tmp_path / "a.onnx", ExportOptions(flip_test=True))
    assert meta_of(tmp_path / "a.onnx")["flip_test"] is True
    crops = export.decided_crops(network, 3).detach()
    with torch.no_grad():
        expected = FlipTested(network, "crowdpose")(crops)
    for rows, answer in zip(expected, run(tmp_path / "a.onnx", crops), strict=True):
        np.testing.assert_allclose(answer, rows, atol=1e-4 * float(rows.std()))


@pytest.mark.parametrize("flip_test", [False, True])
def test_float16_keeps_the_head_in_float32(tiny_network, tmp_path, flip_test):
    report = export_onnx(
        tiny_network(), tmp_path / "a.onnx", ExportOptions(precision="fp16", flip_test=flip_test, max_difference=1.0)
    )
    model = onnx.load(tmp_path / "a.onnx")
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    half = {name for name, kind in types.items() if kind == onnx.TensorProto.FLOAT16}
    assert half
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred}
    for node in model.graph.node:
        if node.op_type in ("Softmax", "ArgMin", "ReduceSum", "Sqrt", "MatMul"):
            assert kinds.get(node.input[0], types.get(node.input[0])) == onnx.TensorProto.FLOAT, node.name
        if node.op_type == "Conv":
            assert kinds[node.input[0]] == onnx.TensorProto.FLOAT16, node.name
    assert meta_of(tmp_path / "a.onnx")["precision"] == "fp16"
    assert report.samples == 24


def test_weights_stored_in_float16(tiny_network, tmp_path):
    network = tiny_network(hidden_dims=64, gau_s=32)
    export_onnx(network, tmp_path / "a.onnx")
    export_onnx(network, tmp_path / "b.onnx", ExportOptions(precision="fp16-weights", max_difference=1.0))
    assert (tmp_path / "b.onnx").stat().st_size < 0.75 * (tmp_path / "a.onnx").stat().st_size
    assert meta_of(tmp_path / "b.onnx")["precision"] == "fp16-weights"


@pytest.mark.parametrize("precision", ["fp16", "fp16-weights"])
def test_a_larger_difference_is_an_error_unless_allowed(tiny_network, tmp_path, precision):
    with pytest.raises(ValueError, match=r"not written.*over 24 samples; allowed rms: 1e-09"):
        export_onnx(tiny_network(), tmp_path / "a.onnx", ExportOptions(precision=precision, max_difference=1e-9))
    assert not list(tmp_path.iterdir())


def test_unknown_precision_and_training_mode_are_refused(tiny_network, tmp_path):
    with pytest.raises(ValueError, match="unknown precision 'int8'; known: fp32, fp16, fp16-weights"):
        export_onnx(tiny_network(), tmp_path / "a.onnx", ExportOptions(precision="int8"))
    with pytest.raises(ValueError, match="the network is in training mode"):
        export_onnx(tiny_network().train(), tmp_path / "a.onnx")


def test_exporting_does_not_change_the_network(tiny_network, tmp_path):
    network = tiny_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export_onnx(network, tmp_path / "a.onnx", ExportOptions(precision="fp16", flip_test=True, max_difference=1.0))
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
