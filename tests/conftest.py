import contextlib
import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from export.repository import build_repository
from server.installation import find_installation
from server.process import ServerOptions, free_port, running_server
from tests.in_process import InProcess
from tests.networks import save_detector, save_pose_network

# Hypothesis' deadlines would measure the machine, not the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

_CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared():
    """Folder of the reference data and photos. It lies beside a development checkout, not inside the repository."""
    folder = _CHECKOUT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("there is no reference data beside this checkout")
    return folder


@pytest.fixture(scope="session")
def fill(shared):
    """Module that generates the weights and inputs of CIGPose's reference data."""
    return _module(shared / "reference" / "fill.py")


@pytest.fixture(scope="session")
def fill_systems(shared):
    """Module that generates the weights and inputs of the other families' reference data."""
    return _module(shared / "reference" / "fill_systems.py")


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tritonserver():
    """The installed tritonserver. Without one, tests fail in CI and skip elsewhere."""
    try:
        return find_installation()
    except ValueError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def serve(tritonserver, tmp_path_factory):
    """Return a context manager that starts a server on a repository and free ports.

    At the end, the server must stop before its exit timeout, so no request may be left unfinished.
    """

    @contextlib.contextmanager
    def start(repository, *, metrics=False, http=False, **options):
        ports = {"grpc_port": free_port(), "metrics_port": metrics and free_port(), "http_port": http and free_port()}
        log = tmp_path_factory.mktemp("log") / "server.log"
        with running_server(ServerOptions(repository, **ports, **options), log=log) as running:
            yield running
        assert "Exit timeout expired" not in log.read_text(), f"requests were left behind, see {log}"

    return start


HEADS = ["simcc", pytest.param("graph_pcnn", marks=pytest.mark.torch)]
"""Parameters of `repository`, for tests that run on other networks too."""


@pytest.fixture(scope="session")
def repository(request, tmp_path_factory):
    """A repository of the hand-made detector and `spots`, of 17 keypoints: hand-made, or a tiny Graph-PCNN."""
    folder = tmp_path_factory.mktemp("networks")
    if getattr(request, "param", "simcc") == "simcc":
        save_pose_network(folder / "spots.onnx")
    else:
        pytest.importorskip("torch", reason="needs PyTorch")
        from export.families.graph_pcnn.export import export_onnx
        from tests.tiny_networks import graph_pcnn_network

        export_onnx(graph_pcnn_network("resnet", input_size=(192, 256)), folder / "spots.onnx")
    detector = save_detector(folder / "red_cells.onnx")
    output = tmp_path_factory.mktemp("repository")
    build_repository([folder / "spots.onnx"], detector, output)
    return output


@pytest.fixture(scope="session")
def rounding(repository):
    """How far another composition of a batch may move keypoints and scores; the hand-made network computes exactly."""
    return 0 if (repository / "decode_simcc").is_dir() else 1e-3


@pytest.fixture(scope="session")
def server(serve, repository):
    with serve(repository, metrics=True, http=True, profile="cpu") as running:
        yield running


@pytest.fixture(scope="session")
def alone(repository):
    """The expected answers of `server`: the in-process runtime on the same repository."""
    return InProcess(repository, "spots")
