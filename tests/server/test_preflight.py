import socket

import pytest

from server import preflight
from server.__main__ import main
from server.installation import Installation, find_installation


def test_a_taken_port_is_named():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        assert preflight._port_problems("127.0.0.1", [port]) == [f"port {port} of 127.0.0.1 is taken; choose another"]
    assert preflight._port_problems("127.0.0.1", [port]) == []
    twice = [f"port {port} of 127.0.0.1 is asked for 2 times; choose others"]
    assert preflight._port_problems("127.0.0.1", [port, port]) == twice


@pytest.mark.parametrize(("version", "count"), [("1.26.4", 0), ("2.0.0", 1), ("2.4.6", 1)])
def test_numpy_2_is_refused(version, count):
    found = preflight._numpy_problems(version)
    assert len(found) == count
    assert all("empty tensors" in problem and "make install" in problem for problem in found)


def test_an_empty_repository_is_refused(tmp_path):
    assert "holds no models; build it with `make repository`" in preflight._repository_problems(tmp_path)[0]


def test_a_repository_without_its_networks_is_refused(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "config.pbtxt").write_text('backend: "onnxruntime"')
    assert "lacks the network of net" in preflight._repository_problems(tmp_path)[0]


def test_a_python_without_stub_is_named(tmp_path):
    (tmp_path / "python_backend_stubs" / "3.8").mkdir(parents=True)
    assert "use one of 3.8" in preflight._stub_problems(tmp_path)[0]


def test_a_missing_libpython_is_named(monkeypatch):
    monkeypatch.setattr(preflight, "python_version", lambda: "3.99")
    found = preflight._libpython_problems()
    assert found == ["libpython3.99.so.1.0 is missing; install it (Debian: apt-get install libpython3.99)"]


def test_the_command_tells_every_problem(tmp_path, capsys):
    assert main(["--repository", str(tmp_path / "none")]) == 1
    assert "holds no models" in capsys.readouterr().err


def test_a_server_on_path_is_preferred(tmp_path, monkeypatch):
    binary = tmp_path / "tritonserver"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_installation() == Installation(binary)
    assert find_installation().make_backends(tmp_path / "backends") is None
    environment = find_installation().environment({"PATH": "x", "MALLOC_TRIM_THRESHOLD_": "1"})
    assert environment.pop("MALLOC_MMAP_THRESHOLD_")
    assert environment == {"PATH": "x", "MALLOC_TRIM_THRESHOLD_": "1"}  # what the caller says counts
