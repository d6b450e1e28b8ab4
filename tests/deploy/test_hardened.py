"""The CPU image's steps under the pod's security context, without a container engine: by mounts and setpriv."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cigpose_client import PoseClient

from server import manifest
from server.process import free_port
from tests.deploy import plain_folder

pytestmark = pytest.mark.server
_SCRIPT = Path(__file__).with_name("hardened.sh")
_PROBE = """
import json, os, pathlib
def writable(place):
    try:
        (pathlib.Path(place) / "probe").write_text("x")
    except OSError:
        return False
    return True
lines = pathlib.Path("/proc/self/status").read_text().splitlines()
status = dict(line.split(":\\t", 1) for line in lines if ":\\t" in line)
places = "/ /etc /var/tmp /usr /root /srv /srv/opt /srv/models /tmp /dev/shm".split()
print(json.dumps({
    "uid": os.getuid(), "groups": os.getgroups(), "capabilities": status["CapEff"] + status["CapBnd"],
    "no_new_privileges": status["NoNewPrivs"], "writable": [place for place in places if writable(place)],
}))
"""


@pytest.fixture(scope="module")
def hardened(tmp_path_factory, tritonserver, repository):
    """The image, its paths inside, and the command that wraps others."""
    mount = ["unshare", "--mount", "--ipc", "--propagation", "private", "mount", "-t", "tmpfs", "tmpfs", "/srv"]
    if os.geteuid() or not shutil.which("setpriv") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs root that may mount, unshare and setpriv")
    if sys.prefix.startswith(("/tmp/", "/srv/", "/dev/shm/")):
        pytest.skip(f"{sys.prefix} is in a folder that the pod's folders replace")
    image = plain_folder.build(tmp_path_factory.mktemp("image"), repository)
    image.models.chmod(0o755)
    inside = plain_folder.Image("/srv/opt", "/srv/models")
    return image, inside, [str(_SCRIPT), str(image.root), str(image.models)]


def test_the_security_context_is_that_of_the_pod(hardened):
    *_, wrapper = hardened
    environment = {**os.environ, "PYTHON": sys.executable}
    command = [*wrapper, sys.executable, "-c", _PROBE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout)
    assert seen["uid"] == 10001
    assert seen["groups"] == []
    assert set(seen["capabilities"]) == {"0"}
    assert seen["no_new_privileges"] == "1"
    assert seen["writable"] == ["/tmp", "/dev/shm"]


def test_the_whole_pipeline_answers_correctly(hardened, server, tmp_path):
    image, inside, wrapper = hardened
    port = free_port()
    picture = np.random.default_rng(0).integers(0, 200, (96, 128, 3), np.uint8)
    picture[40:56, 40:56] = (0, 0, 255)
    with PoseClient(server.grpc_url, timeout_s=30) as client:
        expected = client.estimate(picture)
    with plain_folder.running(inside, port, tmp_path / "server.log", wrapper=wrapper):
        for _ in range(3):
            with PoseClient(f"127.0.0.1:{port}", timeout_s=30) as client:
                found = client.estimate(picture)
    assert len(expected.keypoints) > 0
    np.testing.assert_array_equal(found.keypoints, expected.keypoints)
    np.testing.assert_array_equal(found.keypoint_scores, expected.keypoint_scores)
    assert manifest.problems(image.models) == [], "the server wrote nothing into its models"
