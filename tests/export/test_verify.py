"""`python -m export verify`: the same crops through PyTorch, ONNX Runtime and a real server."""

import math

import numpy as np
import pytest

from export.__main__ import main
from export.comparison import PRECISIONS
from export.repository import build_repository
from export.served import Served, pose_networks
from export.verify import compare, fixed_crops, precision_bound, table
from server.process import ServerTls, free_port
from tests.networks import save_detector, save_pose_network
from tests.server.certificates import make as make_certificates


@pytest.fixture
def network(tmp_path):
    return Served("net", tmp_path, (32, 48), 4, {"precision": "fp16"})


@pytest.fixture
def rows():
    generator = np.random.default_rng(0)
    return tuple(generator.random((2, 3, bins), np.float32) for bins in (64, 96))


def test_a_moved_maximum_is_counted_and_measured_in_pixels(network, rows):
    moved = rows[0].copy(), rows[1]
    first = int(moved[0][1, 2].argmax())
    moved[0][1, 2, (first + 6) % 64] = 2.0
    found = compare(network, "a, b", 1.0, rows, moved)
    assert (found.moved, found.rows, found.passed) == (1, 12, True)
    assert found.most_px == pytest.approx(abs((first + 6) % 64 - first) / 2)  # two bins a pixel
    assert found.mean_px == pytest.approx(found.most_px / 6)


def test_the_bound_is_that_of_the_precision_and_holds_for_no_nan(network, rows):
    assert precision_bound(network) == PRECISIONS["fp16"]
    assert not compare(network, "a, b", 1e9, rows, (rows[0] * np.float32(math.nan), rows[1])).passed
    exceeded = compare(network, "a, b", 1e-9, rows, (rows[0] + np.float32(0.1), rows[1]))
    assert "EXCEEDED" in table([exceeded])
    assert table([exceeded]).splitlines()[1].startswith("net      a, b")


def test_crops_differ_and_repeat():
    crops = fixed_crops((48, 56), 3)
    assert (crops.shape, crops.dtype) == ((3, 56, 48, 3), np.uint8)
    np.testing.assert_array_equal(crops, fixed_crops((48, 56), 3))
    assert np.abs(crops[0].astype(int) - crops[1]).mean() > 10
    assert 30 < crops.std() < 80


def test_a_folder_without_networks_and_an_unknown_name(tmp_path, capsys):
    with pytest.raises(ValueError, match="holds no pose network"):
        pose_networks(tmp_path)
    build_repository([save_pose_network(tmp_path / "s.onnx")], save_detector(tmp_path / "d.onnx"), tmp_path / "r")
    assert main(["verify", str(tmp_path / "r"), "--network", "other"]) == 1
    assert "no pose network other; there are s" in capsys.readouterr().err
    nobody = f"127.0.0.1:{free_port()}"
    assert main(["verify", str(tmp_path / "r"), "--url", nobody, "--crops", "1"]) == 1
    assert f"error: s at {nobody}: " in capsys.readouterr().err


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="needs PyTorch")


@pytest.fixture(scope="module")
def exported(torch, tiny_network, tmp_path_factory):
    """Folder with a repository of a tiny network with flip test and another, and the tiny one's checkpoint."""
    from export import graph_edit
    from export.families.cigpose.export import export_onnx

    folder, network = tmp_path_factory.mktemp("verify"), tiny_network("crowdpose")
    torch.save({"state_dict": network.state_dict()}, folder / "right.pth")
    wrong = {name: value * 1.01 if "cls_gx" in name else value for name, value in network.state_dict().items()}
    torch.save({"state_dict": wrong}, folder / "wrong.pth")
    digest = graph_edit.sha256(folder / "right.pth")
    export_onnx(network, folder / "tiny.onnx", flip_test=True, checkpoint_sha256=digest)
    spots = save_pose_network(folder / "spots.onnx")
    build_repository([folder / "tiny.onnx", spots], save_detector(folder / "d.onnx"), folder / "r")
    return folder


@pytest.fixture(scope="module")
def exported_server(exported, serve):
    with serve(exported / "r", profile="cpu") as server:
        yield server


@pytest.mark.server
@pytest.mark.torch
def test_pytorch_onnx_runtime_and_server_agree(exported, exported_server, capsys):
    """The tiny network is none of the published ones: its shapes and the served crop tell what it is."""
    folder = exported
    arguments = ["verify", str(folder / "r"), "--url", exported_server.grpc_url]
    assert main([*arguments, "--checkpoint", str(folder / "right.pth")]) == 0  # its sha256 tells which network
    lines = capsys.readouterr().out.splitlines()
    compared = [" ".join(line.split()[:4]) for line in lines[1:]]
    assert compared == ["tiny PyTorch, ONNX Runtime", "tiny ONNX Runtime, served"]
    assert main(arguments) == 0  # every network, without PyTorch
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["spots", "tiny"]
    wrong = [*arguments, "--checkpoint", str(folder / "wrong.pth")]
    assert main(wrong) == 1
    assert "no network says that it comes from" in capsys.readouterr().err
    assert main([*wrong, "--network", "tiny"]) == 1
    assert "EXCEEDED" in capsys.readouterr().out.splitlines()[1]
    assert main([*wrong, "--network", "tiny", "--max-difference", "0.1"]) == 0
    assert main([*wrong, "--network", "spots"]) == 1
    assert "bins are not of crops of (192, 256)" in capsys.readouterr().err


@pytest.mark.server
@pytest.mark.torch
def test_a_server_of_its_own_is_started(exported, capsys, tritonserver):
    assert main(["verify", str(exported / "r"), "--network", "tiny", "--crops", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


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
        assert main(arguments) == 1  # it wants to know us
    assert "error: s at localhost:" in capsys.readouterr().err
    assert main(["verify", str(folder / "r"), "--tls"]) == 1
    assert "--tls goes with --url" in capsys.readouterr().err
    assert main([*arguments[:-1], str(pem / "nothing.pem")]) == 1
    assert "nothing.pem" in capsys.readouterr().err
