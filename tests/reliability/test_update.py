"""A new network replaces the present one under load; a broken one does not."""

import json
import shutil
import signal
import time

import pytest

from export.repository import build_repository, seal
from tests.in_process import InProcess
from tests.networks import save_detector, save_pose_network
from tests.reliability.launcher import launched
from tests.reliability.load import expected_answers, load

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def forms(tmp_path_factory, crowded):
    """Two forms of one network: for each, the repository's folder and the expected answers."""

    def build(seed):
        folder = tmp_path_factory.mktemp(f"form{seed}")
        pose = save_pose_network(folder / "spots.onnx", seed=seed)
        build_repository([pose], save_detector(folder / "red_cells.onnx"), folder / "repository")
        return folder / "repository", expected_answers(InProcess(folder / "repository", "spots"), crowded)

    return build(0), build(1)


def health_of(server):
    return json.loads(server.health.read_text())


def update(server):
    """Request an update and return the seconds until the launcher logs its outcome."""
    log = server.log.read_text()
    server.process.send_signal(signal.SIGHUP)
    outcomes = ("every network is as in", "not updated")
    return server.wait_until(lambda: any(words in server.log.read_text()[len(log) :] for words in outcomes), 60)


@pytest.mark.parametrize("how", ["in place", "new version"])
def test_an_update_fails_no_request(tritonserver, forms, crowded, tmp_path, record, how):
    (old, expected), (new, newer) = forms
    repository = shutil.copytree(old, tmp_path / "repository")
    seal(repository)
    with launched(repository, tmp_path) as server:
        with load(server, crowded, expected, newer=newer) as account:
            server.wait_until(lambda: account.kinds()["right"] > 20, 20)
            target = repository / "spots" / ("1" if how == "in place" else "2")
            shutil.copytree(new / "spots" / "1", target, dirs_exist_ok=True)
            seal(repository)
            asked = time.monotonic()
            seconds = update(server)
            server.wait_until(lambda: account.kinds(asked)["newer"] > 100, 30)
        kinds = account.kinds()
        failed = kinds.total() - kinds["right"] - kinds["newer"] - kinds["wrong"]
        record(f"update-{how.replace(' ', '-')}", fault=f"a new network, {how}", tries=1, lost=failed,
               wrong=kinds["wrong"], recovery_s=seconds)  # fmt: skip
        assert set(kinds) == {"right", "newer"}, kinds
        first_new = min(ended for ended, _, kind in account.calls if kind == "newer")
        began_later = [kind for ended, took, kind in account.calls if ended - took > first_new + 0.5]
        assert set(began_later) == {"newer"}, "the old network no longer answers"
        time.sleep(2)  # the old network's processes have ended, which is no fault
        assert (health_of(server)["updates"], health_of(server)["recoveries"]) == ({"spots": 1}, {})
        assert not server.is_red()


@pytest.mark.parametrize("how", ["in place", "new version", "not as in the manifest"])
def test_a_broken_update_keeps_the_present_network(tritonserver, forms, crowded, tmp_path, record, how):
    (old, expected), _ = forms
    repository = shutil.copytree(old, tmp_path / "repository")
    seal(repository)
    with launched(repository, tmp_path) as server, load(server, crowded, expected) as account:
        server.wait_until(lambda: account.kinds()["right"] > 20, 20)
        network = repository / "spots" / ("2" if how == "new version" else "1") / "model.onnx"
        network.parent.mkdir(exist_ok=True)
        network.write_bytes((repository / "spots" / "1" / "model.onnx").read_bytes()[:1000])
        if how != "not as in the manifest":
            seal(repository)
        update(server)
        asked = time.monotonic()
        server.wait_until(lambda: account.kinds(asked)["right"] > 40, 20)
        record(f"broken-update-{how.replace(' ', '-')}", fault=f"a broken network, {how}", tries=1,
               lost=account.kinds().total() - account.kinds()["right"] - account.kinds()["wrong"],
               wrong=account.kinds()["wrong"])  # fmt: skip
        assert set(account.kinds()) == {"right"}
        assert not server.is_red()
        if how == "not as in the manifest":
            assert "spots/1/model.onnx was changed" in server.log.read_text()
        else:
            assert set(health_of(server)["failed_updates"]) == {"spots"}
