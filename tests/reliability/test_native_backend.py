"""The watchdog with models that have no processes: a small backend in C, as Triton's own `onnxruntime` backend is."""

import contextlib
import json
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from tests.reliability.launcher import launched

pytestmark = pytest.mark.server
SOURCE = Path(__file__).with_name("native_backend.c")
CONFIG = """
name: "{0}" backend: "native" max_batch_size: 0
input {{ name: "milliseconds" data_type: TYPE_FP32 dims: [1] }}
output {{ name: "taken" data_type: TYPE_FP32 dims: [1] }}
instance_group {{ kind: KIND_CPU count: {1} }}
"""


@pytest.fixture(scope="module")
def launcher(tritonserver, tmp_path_factory):
    """`python -m server` with `slow`, of one instance, and `loaded`, of two."""
    compiler = shutil.which("cc") or pytest.skip("no C compiler (cc) on PATH")
    repository = tmp_path_factory.mktemp("native")
    for name, instances in (("slow", 1), ("loaded", 2)):
        library = repository / name / "1" / "libtriton_native.so"
        library.parent.mkdir(parents=True)
        (repository / name / "config.pbtxt").write_text(CONFIG.format(name, instances))
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    with launched(repository, tmp_path_factory.mktemp("launcher")) as server:
        yield server


def ask(server, model, milliseconds, timeout_s):
    """Return whether an execution of this length (negative: a hang) was answered within the timeout."""
    given = tritonclient.grpc.InferInput("milliseconds", [1], "FP32")
    given.set_data_from_numpy(np.array([milliseconds], np.float32))
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        try:
            return client.infer(model, [given], client_timeout=timeout_s).as_numpy("taken") == [milliseconds]
        except InferenceServerException:
            return False


@contextlib.contextmanager
def under_load(server, model, callers):
    """Keep executions of 0.1 s running on every instance of a model."""
    stopped = threading.Event()

    def keep_asking():
        while not stopped.is_set():
            ask(server, model, 100, 10)

    threads = [threading.Thread(target=keep_asking) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def recoveries(server):
    return json.loads(server.health.read_text())["recoveries"]


@pytest.mark.parametrize("callers", [4, pytest.param(0, marks=pytest.mark.slow)])
def test_a_hang_is_found(launcher, callers, record):
    """The other model keeps both cores busy, or is idle. It takes 30 s at most, and more on a busy machine."""
    before = recoveries(launcher).get("slow", 0)
    assert ask(launcher, "slow", 1, 10)
    with under_load(launcher, "loaded", callers):
        hanging = threading.Thread(target=ask, args=(launcher, "slow", -45_000, 60))
        hanging.start()
        seconds = launcher.wait_until(lambda: recoveries(launcher).get("slow", 0) > before, 60)
        assert ask(launcher, "slow", 1, 10), "the new instance answers beside the hanging execution"
    hanging.join()
    record(f"hang-native-{callers}", fault="an execution without a process hangs", tries=1, recovery_s=seconds)
    assert seconds < 42
    assert recoveries(launcher) == {"slow": before + 1}


@pytest.mark.slow
@pytest.mark.parametrize("callers", [4, 0])
def test_an_execution_of_60_s_raises_no_alarm(launcher, callers):
    before = recoveries(launcher)
    started = time.monotonic()
    with under_load(launcher, "loaded", callers):
        assert ask(launcher, "slow", 60_000, 90)
    assert time.monotonic() - started >= 60
    assert recoveries(launcher) == before
