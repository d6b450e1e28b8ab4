"""`python -m export verify`: the same inputs through PyTorch, ONNX Runtime and a real server."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from ensemble.networks import Network
from export.__main__ import main
from export.comparison import Difference
from export.repository import build_repository
from export.verify import Finding, compare, members, named, reduced_precision
from server.process import ServerTls, free_port
from tests.networks import save_detector, save_pose_network
from tests.server.certificates import make as make_certificates


def finding(difference, bound, *moved_px):
    return Finding("net", "a, b", difference, bound, np.array(moved_px))


def test_an_exceeded_bound_and_nan_fail():
    assert finding(Difference(0.1, 0.01), 0.01).passed
    assert not finding(Difference(0.1, math.nan), math.inf).passed
    assert str(finding(Difference(0.1, 0.02), 0.01)) == (
        "net: a, b: largest 0.1, rms 0.02 standard deviations, allowed 0.01 EXCEEDED"
    )
    assert str(finding(Difference(0, 0), 0.01, 0.0, 3.0)) == (
        "net: a, b: largest 0, rms 0 standard deviations, allowed 0.01; keypoints moved 1.500 px, 3.00 at most"
    )


def test_a_reduced_precision_is_compared_for_information():
    found = finding(Difference(0.1, 0.5), math.inf)
    assert found.passed
    assert str(found) == "net: a, b: largest 0.1, rms 0.5 standard deviations, for information"


@pytest.mark.parametrize(
    ("stated", "accelerator", "expected"),
    [
        ("", ("openvino", {"precision": "BF16"}), "BF16"),
        ("", ("openvino", {"precision": "FP32"}), ""),
        ("", ("tensorrt", {"precision_mode": "FP16", "trt_layer_norm_fp32_fallback": "1"}), "FP16"),
        ("int8", ("openvino", {"precision": "FP32"}), "int8"),
        ("int8", None, ""),
        ("fp16-weights", ("openvino", {"precision": "FP32"}), ""),
    ],
)
def test_the_precision_of_a_served_network(stated, accelerator, expected):
    answer = service_pb2.ModelConfigResponse()
    if accelerator:
        name, parameters = accelerator
        accelerators = answer.config.optimization.execution_accelerators
        accelerators.cpu_execution_accelerator.add(name=name, parameters=parameters)
    client = SimpleNamespace(get_model_config=lambda name: answer)
    assert reduced_precision(client, Network("net", (), (), 1, {"precision": stated})) == expected


@pytest.fixture(scope="module")
def spots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spots")
    build_repository([save_pose_network(folder / "s.onnx")], save_detector(folder / "d.onnx"), folder / "r")
    return folder / "r"


def test_every_network_is_verified_with_given_boxes_if_possible(spots):
    found = members(spots)
    assert {name: member.run.pipeline.name for name, member in found.items()} == {
        "detector": "pose",
        "s": "pose_from_boxes",
    }
    assert (found["detector"].decoder, found["s"].decoder.name) == (None, "decode_simcc")


def test_samples_differ_and_repeat(spots):
    member = members(spots)["s"]
    samples, again = member.samples(10), member.samples(10)
    assert [len(tensors["crops"]) for tensors in samples] == [8, 2]
    for one, other in zip(samples, again, strict=True):
        np.testing.assert_array_equal(one["crops"], other["crops"])
    crops = np.concatenate([tensors["crops"] for tensors in samples])
    assert len({crop.tobytes() for crop in crops}) == 10
    assert 30 < crops.std() < 80


def test_moved_keypoints_are_measured_in_picture_pixels(spots):
    member = members(spots)["s"]
    samples = member.samples(2)
    moved = [{**tensors, "simcc_x": tensors["simcc_x"].copy()} for tensors in samples]
    first = int(moved[0]["simcc_x"][1, 2].argmax())
    moved[0]["simcc_x"][1, 2, (first + 6) % 384] = 1e3
    ways = [[named(tensors, member.network.outputs) for tensors in way] for way in (samples, moved)]
    found = compare(member, "a, b", 1.0, samples, ways)
    expected = abs((first + 6) % 384 - first) / 384 * samples[0]["scales"][1, 0]
    assert np.flatnonzero(found.moved_px).tolist() == [17 + 2]
    assert found.moved_px.max() == pytest.approx(expected, rel=1e-4)
    assert compare(member, "a, b", 1.0, samples, ways, np.array([0])).moved_px.max() == 0  # the other crop


def test_a_folder_without_networks_and_an_unknown_name(spots, tmp_path, capsys):
    with pytest.raises(ValueError, match="holds no pipeline"):
        members(tmp_path)
    assert main(["verify", str(spots), "--network", "other"]) == 2
    assert "unknown network other; the repository has" in capsys.readouterr().err
    nobody = f"127.0.0.1:{free_port()}"
    assert main(["verify", str(spots), "--network", "s", "--url", nobody, "--crops", "1"]) == 1
    assert "error: s: failed to connect" in capsys.readouterr().err


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs PyTorch")


@pytest.fixture(scope="module")
def exported(torch, tiny_network, tmp_path_factory):
    """Folder with checkpoints and a repository of two networks; the one called tiny has the flip test."""
    from export import graph_edit
    from export.families.cigpose.export import export_onnx
    from export.onnx_export import ExportOptions

    folder, network = tmp_path_factory.mktemp("verify"), tiny_network("crowdpose")
    torch.save({"state_dict": network.state_dict()}, folder / "right.pth")
    wrong = {name: value * 1.01 if "cls_gx" in name else value for name, value in network.state_dict().items()}
    torch.save({"state_dict": wrong}, folder / "wrong.pth")
    digest = graph_edit.sha256(folder / "right.pth")
    export_onnx(network, folder / "tiny.onnx", ExportOptions(flip_test=True, checkpoint_sha256=digest))
    spots = save_pose_network(folder / "spots.onnx")
    build_repository([folder / "tiny.onnx", spots], save_detector(folder / "d.onnx"), folder / "r")
    return folder


@pytest.fixture(scope="module")
def exported_server(exported, serve):
    with serve(exported / "r", profile="cpu") as server:
        yield server


@pytest.mark.server
@pytest.mark.torch
def test_pytorch_onnx_runtime_and_server_agree(exported, exported_server, capsys, monkeypatch, tiny_variant):
    from export.families.cigpose.variants import VARIANTS

    monkeypatch.setitem(VARIANTS, "tiny-crowdpose", tiny_variant("crowdpose"))
    folder = exported
    arguments = ["verify", str(folder / "r"), "--url", exported_server.grpc_url]
    assert main([*arguments, "--checkpoint", str(folder / "right.pth")]) == 0  # its sha256 tells which network
    compared = [line.split(": ")[:2] for line in capsys.readouterr().out.splitlines()]
    assert compared == [["tiny", "PyTorch, ONNX Runtime"], ["tiny", "ONNX Runtime, served"]]
    assert main(arguments) == 0  # every network, without PyTorch
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["detector", "spots", "tiny"]
    wrong = [*arguments, "--checkpoint", str(folder / "wrong.pth")]
    assert main(wrong) == 1
    assert "as its source; choose one with --network" in capsys.readouterr().err
    assert main([*wrong, "--network", "tiny"]) == 1
    assert "EXCEEDED" in capsys.readouterr().out.splitlines()[0]
    assert main([*wrong, "--network", "tiny", "--max-difference", "0.1"]) == 0
    assert main([*wrong, "--network", "spots"]) == 1
    assert "is tiny-crowdpose, for crops of (64, 96); spots takes (192, 256)" in capsys.readouterr().err


@pytest.mark.server
@pytest.mark.torch
def test_the_command_starts_a_server(exported, capsys, tritonserver):
    assert main(["verify", str(exported / "r"), "--network", "tiny", "--crops", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.server
def test_bfloat16_passes_without_a_bound(spots, capsys, tritonserver):
    pytest.importorskip("openvino")
    command = ["verify", str(spots), "--profile", "cpu-bf16", "--crops", "1"]
    assert main(command) == 0
    exact, reduced = capsys.readouterr().out.splitlines()
    assert exact.startswith("detector: ONNX Runtime, served: ") and "allowed 0.0002" in exact
    assert reduced.startswith("s: ONNX Runtime, served in BF16: ") and "for information" in reduced


@pytest.mark.server
def test_a_server_with_mutual_tls(serve, tmp_path_factory, capsys):
    pem, folder = make_certificates(tmp_path_factory.mktemp("pem")), tmp_path_factory.mktemp("tls")
    build_repository([save_pose_network(folder / "s.onnx")], save_detector(folder / "d.onnx"), folder / "r")
    tls = ServerTls(pem / "server.pem", pem / "server.key", pem / "ca.pem")
    own = ["--tls-cert", str(pem / "client.pem"), "--tls-key", str(pem / "client.key")]
    with serve(folder / "r", tls=tls) as server:
        url = server.grpc_url.replace("127.0.0.1", "localhost")
        arguments = ["verify", str(folder / "r"), "--crops", "2", "--url", url, "--tls-ca", str(pem / "ca.pem")]
        assert main([*arguments, *own]) == 0
        assert main(arguments) == 1  # the server requires a client certificate
    assert "error: detector: failed to connect" in capsys.readouterr().err
    assert main(["verify", str(folder / "r"), "--tls"]) == 2
    assert "--tls needs --url" in capsys.readouterr().err
    assert main([*arguments[:-1], str(pem / "nothing.pem")]) == 1
    assert "nothing.pem" in capsys.readouterr().err
