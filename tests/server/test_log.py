"""The last line of a failed start names the model, the cause and the remedy."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from server import installation, process
from server.__main__ import main
from server.log import reason
from server.process import Crashed, ServerOptions, free_port, running_server

CPU = ("cpu", "cpu-bf16")


def failed(repository, *options):
    """Run the command until it ends; return its exit status and the lines of its stderr."""
    command = [sys.executable, "-m", "server", "--repository", str(repository), "--grpc-port", str(free_port())]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120)
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


@pytest.fixture
def copy(tritonserver, repository, tmp_path):
    return shutil.copytree(repository, tmp_path / "repository")


@pytest.mark.server
def test_the_profile_gpu_without_a_gpu(tritonserver, repository):
    code, lines = failed(repository, "--profile", "gpu")
    if code != 1:
        pytest.skip("this machine has a GPU")
    assert "detector, spots cannot load: there is no GPU that the server can use; choose another profile: " in lines[-1]
    others = (
        "cpu, cpu-bf16, cpu-bf16-latency, cpu-int8, cpu-int8-latency, cpu-latency, cpu-openvino"
        if tritonserver.has_stand_in()
        else "cpu, cpu-latency"
    )
    assert lines[-1].endswith(f": {others}")
    assert any("failed to load 'detector'" in line for line in lines), "the log is passed on"


@pytest.mark.server
def test_a_damaged_network(copy):
    network = copy / "spots" / "1" / "model.onnx"
    network.write_bytes(network.read_bytes()[:3000])
    code, lines = failed(copy, "--profile", "cpu")
    assert code == 1
    assert "spots cannot load: its ONNX file is damaged or truncated; build the repository again" in lines[-1]


@pytest.mark.server
def test_a_step_without_its_package(copy):
    step = copy / "decode_image" / "1" / "model.py"
    step.write_text("import not_there\n" + step.read_text())
    code, lines = failed(copy)
    assert code == 1
    assert "decode_image cannot load: the Python package not_there is missing; `make install`" in lines[-1]


@pytest.mark.server
def test_a_profile_without_its_package(tritonserver, repository, tmp_path, monkeypatch, capfd):
    if not tritonserver.has_stand_in():
        pytest.skip("the profile is refused on the server's own backend")
    stand_ins = shutil.copytree(installation._STAND_INS, tmp_path / "backends")
    (stand_ins / "onnxruntime" / "openvino_session.py").write_text("raise ModuleNotFoundError('openvino')")
    monkeypatch.setattr(installation, "_STAND_INS", stand_ins)
    arguments = ["--repository", str(repository), "--grpc-port", str(free_port()), "--profile", "cpu-bf16"]
    assert main(arguments) == 1
    last = capfd.readouterr().err.splitlines()[-1]
    assert "spots cannot load: the package openvino is missing; pip install openvino, or choose the profile" in last


@pytest.mark.server
def test_a_flag_that_tritonserver_does_not_know(tritonserver, repository):
    code, lines = failed(repository, "--", "--nonsense=1")
    assert code == 1
    assert "tritonserver does not know the flag --nonsense=1" in lines[-1]


@pytest.mark.server
def test_with_a_log_file_the_reason_is_the_last_line(copy, tmp_path):
    (copy / "spots" / "config.pbtxt").write_text("nonsense {")
    with pytest.raises(RuntimeError) as error:
        with running_server(ServerOptions(copy, grpc_port=free_port()), log=tmp_path / "log"):
            pass
    lines = str(error.value).splitlines()
    assert re.match(r"tritonserver (ended with 1|was ended by SIG\w+) after ", lines[0]), (
        "while it ends, 2.51 sometimes crashes"
    )
    assert len(lines) > 5
    assert lines[-1].startswith("spots cannot load: its config.pbtxt cannot be read; build the repository again")


FAKE = """#!/bin/sh
echo "{0}"
kill -{1} $$
"""


@pytest.mark.parametrize("number", [6, 11])
@pytest.mark.parametrize("log_file", [True, False])
@pytest.mark.parametrize(
    ("line", "kind", "cause"),
    [
        ("failed to load model 'net': KIND_GPU but no GPUs", RuntimeError, "net cannot load: there is no GPU that"),
        ("E1124 1 x.cc:1] bad luck", Crashed, "bad luck"),
    ],
)
def test_a_crash_states_its_cause_and_is_retried_unless_a_model_cannot_load(
    repository, tmp_path, monkeypatch, number, log_file, line, kind, cause
):
    fake = tmp_path / "tritonserver"
    fake.write_text(FAKE.format(line, number))
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(RuntimeError) as error:
        with running_server(
            ServerOptions(repository, grpc_port=free_port()), log=(log_file and tmp_path / "log") or None
        ):
            pass
    assert type(error.value) is kind
    assert str(error.value).startswith(f"tritonserver was ended by SIG{'ABRT' if number == 6 else 'SEGV'} after ")
    assert cause in str(error.value).splitlines()[-1]


@pytest.mark.server
def test_a_server_that_crashes_at_its_start_is_started_again(
    tritonserver, serve, repository, tmp_path, monkeypatch, caplog
):
    crashes_twice = tmp_path / "tritonserver"
    crashes_twice.write_text(
        f"#!/bin/sh\nif mkdir {tmp_path}/first || mkdir {tmp_path}/second; then kill -6 $$; fi\n"
        f'exec {tritonserver.binary} "$@"\n'
    )
    crashes_twice.chmod(0o755)
    monkeypatch.setattr(process, "find_installation", lambda: replace(tritonserver, binary=crashes_twice))
    with serve(repository, profile="cpu") as running:
        assert running.process.poll() is None
    assert len(caplog.messages) == 2
    for warning in caplog.messages:
        assert re.fullmatch(r"tritonserver was ended by SIGABRT after .* s; its errors .*; starting it again", warning)


LOAD = "E1124 1 1 model_lifecycle.cc:642] {}failed to load 'net' version 1: Internal: "
LOGS = {
    LOAD.format("") + "onnx runtime error 7: Load model from /m/net/1/model.onnx failed:Protobuf parsing failed.\n": (
        "net cannot load: its ONNX file is damaged or truncated; build the repository again"
    ),
    LOAD.format('"')
    + 'TritonModelException: net: it is too large; make it smaller\\n\\nAt:\\n  model.py(96): f\\n"\n': (
        "net cannot load: it is too large; make it smaller"
    ),
    'E1124 1 x.cc:1] "CudaDriverHelper has not been initialized."\nE1124 1 x.cc:1] "failed to listen: in use "\n': (
        "failed to listen: in use"
    ),
    'E1124 1 1 x.cc:1] "unable to create stream: CUDA driver version is insufficient for CUDA runtime"\n': "",
    "E1124 1 x.cc:724] \"failed to load model 'net': at least one version must be available\"\n": (
        "net cannot load: at least one version must be available"
    ),
    "": "",
}


@pytest.mark.parametrize(("log", "expected"), LOGS.items())
def test_the_reason_is_found_in_the_log(log, expected):
    line = reason(log, CPU)
    assert line.startswith(expected) and bool(line) == bool(expected)


def test_models_with_one_reason_share_a_line():
    line = (
        "failed to load '{}' version 1: Invalid argument: instance group has kind KIND_GPU but no GPUs are available\n"
    )
    found = reason(line.format("a") + line.format("b") + "failed to load 'c' version 1: Internal: other\n", CPU)
    assert found == "a, b cannot load: there is no GPU that the server can use; choose another profile: cpu, cpu-bf16"
