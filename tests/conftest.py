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

# Time limits say more about the machine than about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

_CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared():
    """Golden data and photos that lie beside the checkout where the project is developed."""
    folder = _CHECKOUT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the golden data lies beside the checkout, not in it")
    return folder


@pytest.fixture(scope="session")
def fill(shared):
    """Module that generates the weights and inputs of the golden data."""
    spec = importlib.util.spec_from_file_location("reference_fill", shared / "reference" / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tritonserver():
    """A server must be there: in CI its absence is a failure, elsewhere a reason to skip."""
    try:
        return find_installation()
    except ValueError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def serve(tritonserver, tmp_path_factory):
    """Return a function that starts a server on a repository, on free ports, for a `with` block.

    After the block, the server must end without waiting in vain for requests that Triton never finished.
    """

    @contextlib.contextmanager
    def start(repository, *, metrics=False, http=False, **options):
        ports = {"grpc_port": free_port(), "metrics_port": metrics and free_port(), "http_port": http and free_port()}
        log = tmp_path_factory.mktemp("log") / "server.log"
        with running_server(ServerOptions(repository, **ports, **options), log=log) as running:
            yield running
        assert "Exit timeout expired" not in log.read_text(), f"requests were left behind, see {log}"

    return start


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """A repository of the hand-made networks; the default one has 17 keypoints."""
    folder = tmp_path_factory.mktemp("networks")
    pose = save_pose_network(folder / "spots.onnx")
    detector = save_detector(folder / "red_cells.onnx")
    output = tmp_path_factory.mktemp("repository")
    build_repository([pose], detector, output)
    return output


@pytest.fixture(scope="session")
def server(serve, repository):
    with serve(repository, metrics=True, http=True, profile="cpu") as running:
        yield running


@pytest.fixture(scope="session")
def alone(repository):
    """What that server must answer, from the same functions and files without Triton."""
    return InProcess(repository, "spots")
