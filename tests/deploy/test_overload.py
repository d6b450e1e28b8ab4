import contextlib
import queue
import re
import subprocess
import threading
import time

import numpy as np
import pytest
from cigpose_client import PoseClient, PoseClientError
from tritonclient.grpc import InferenceServerClient

from server.process import free_port
from tests.deploy import plain_folder
from tests.pictures import encode
from tests.triton import image_input, page_of_failures

pytestmark = pytest.mark.server
_BURST = 500  # requests: many more than the queue holds, sent much faster than answered
_CALLERS = 48  # each with one request at a time; a few of them saturate this server
_DURATION_S = 60
_PROBE_PERIOD_S = 20  # as in the Deployment
_PROBE_TIMEOUT_S = 15


@pytest.mark.slow
def test_the_liveness_probe_stays_green_under_overload(tmp_path, tritonserver, repository):
    image = plain_folder.build(tmp_path, repository)
    port, stop, delays_s = free_port(), threading.Event(), []
    picture = np.zeros((720, 1280, 3), np.uint8)
    picture[:, :, 2] = 255

    def call():
        with PoseClient(f"127.0.0.1:{port}", timeout_s=10, retry=None) as client:
            while not stop.is_set():
                started = time.monotonic()
                try:
                    client.estimate(picture)
                except PoseClientError:
                    pass
                delays_s.append(time.monotonic() - started)

    with plain_folder.running(image, port, tmp_path / "server.log"):
        threads = [threading.Thread(target=call) for _ in range(_CALLERS)]
        for thread in threads:
            thread.start()
        try:
            results = []
            for _ in range(_DURATION_S // _PROBE_PERIOD_S):
                time.sleep(_PROBE_PERIOD_S)
                results.append(_probe(port))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert results == [0] * len(results)
        assert np.median(delays_s) > 1, "this was no overload"


def test_rejections_of_a_full_server_are_counted(serve, repository):
    """The rules `cigpose:unserved` and `cigpose:faults` depend on this."""
    inputs, ends = [image_input(encode(np.zeros((720, 1280, 3), np.uint8)))], queue.SimpleQueue()
    with serve(repository, metrics=True, profile="cpu") as running:
        with InferenceServerClient(running.grpc_url) as client:
            for _ in range(_BURST):
                client.async_infer("pose", inputs, lambda result, error: ends.put(error))
            errors = [ends.get(timeout=60) for _ in range(_BURST)]
        scrape = page_of_failures(running.options.metrics_port)
    refused = [error for error in errors if error]
    assert refused and all("Exceeds maximum queue size" in error.message() for error in refused)
    turned_away = re.findall(r'^cigpose_pictures_turned_away_total{.*reason="(\w+)".*} (\d+)$', scrape, re.M)
    assert {reason: int(count) for reason, count in turned_away} == {"full": len(refused), "expired": 0}
    (failures,) = re.findall(r'^nv_inference_request_failure{model="pose",reason="OTHER".*} (\d+)$', scrape, re.M)
    assert int(failures) == 2 * len(refused)


def _probe(port):
    """Run the probe as the kubelet does, for which a late probe is a failure."""
    command = [plain_folder.CLIENT, *plain_folder.liveness_arguments(), f"--url=127.0.0.1:{port}"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run(command, timeout=_PROBE_TIMEOUT_S).returncode
    return "late"
