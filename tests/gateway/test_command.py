"""`python -m gateway` without a server's address starts one, and takes it away at its end."""

import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("fastapi", reason="the gateway's packages are not installed; run `make install-gateway`")
pytestmark = pytest.mark.server


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_leaves_no_files(tritonserver, tmp_path, number, status):
    command = [sys.executable, "-m", "gateway", "--port", "0"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as gateway:
        try:
            lines = iter(gateway.stdout.readline, "")
            assert any(line.startswith("the page is on ") for line in lines)
            assert [*tmp_path.glob("cigpose-*")]
            gateway.send_signal(number)
            assert gateway.wait(60) == status
        finally:
            gateway.kill()
    assert not [*tmp_path.glob("cigpose-*")]
