import socket
from pathlib import Path

import pytest

from server import preflight
from server.__main__ import main
from server.installation import Installation, find_installation
from server.options import ServerOptions
from server.process import free_port
from server.usage import pem_problems


def test_a_taken_port_is_named():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        assert preflight._port_problems("127.0.0.1", [port]) == [f"port {port} of 127.0.0.1 is in use; choose another"]
    assert preflight._port_problems("127.0.0.1", [port]) == []
    twice = [f"port {port} of 127.0.0.1 is given 2 times; choose others"]
    assert preflight._port_problems("127.0.0.1", [port, port]) == twice


@pytest.mark.parametrize("address", ["nohost.invalid", "999.1.1.1"])
def test_an_address_of_another_machine_is_no_port_in_use(address):
    (found,) = preflight._port_problems(address, [8001])
    assert found.startswith(f"port 8001 of {address} cannot be listened on: ")


@pytest.mark.parametrize("address", ["::1", "[::1]"])
def test_a_taken_port_of_ipv6_is_named(address):
    try:
        holder = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("there is no IPv6 here")
    with holder:
        port = holder.getsockname()[1]
        assert preflight._port_problems(address, [port]) == [f"port {port} of {address} is in use; choose another"]
    assert preflight._port_problems(address, [port]) == []


def test_files_of_tls_that_are_none_are_named(tmp_path):
    files = [tmp_path / name for name in ("a.pem", "a.key", "ca.pem")]
    for file in files:
        file.write_text("no PEM")
    certificate, key, authority = files
    assert pem_problems(*files) == [
        f"{certificate} and {key} are no certificate and its key without a password, both PEM",
        f"{authority} holds no certificate, PEM",
    ]


def test_port_0_is_no_port_of_grpc(repository, capsys):
    with pytest.raises(SystemExit):
        main(["--repository", str(repository), "--grpc-port", "0"])
    assert "--grpc-port 0 is no port" in capsys.readouterr().err


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


@pytest.mark.parametrize(("name", "special"), [("my models", " "), ("a;b", ";"), ("c$d", "$")])
def test_a_path_that_a_shell_would_split_is_refused(tmp_path, name, special):
    (tmp_path / name / "step").mkdir(parents=True)
    (tmp_path / name / "step" / "config.pbtxt").touch()
    (problem,) = preflight._repository_problems(tmp_path / name)
    assert problem.startswith(f"{tmp_path / name} contains {special!r}")


def test_a_model_name_that_a_shell_would_split_is_refused(tmp_path):
    (tmp_path / "my pose").mkdir()
    (tmp_path / "my pose" / "config.pbtxt").touch()
    (problem,) = preflight._repository_problems(tmp_path)
    assert problem.startswith("my pose contains ' ', with which no Python model starts; rename the network's file")


def test_a_python_without_stub_is_named(tmp_path):
    (tmp_path / "python_backend_stubs" / "3.8").mkdir(parents=True)
    assert "use one of 3.8" in preflight._stub_problems(tmp_path)[0]


def test_a_missing_libpython_is_named(monkeypatch):
    monkeypatch.setattr(preflight, "python_version", lambda: "3.99")
    found = preflight._libpython_problems()
    assert found == ["libpython3.99.so.1.0 is missing; install it (Debian: apt-get install libpython3.99)"]


def test_the_command_reports_problems(tmp_path, capsys):
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
    assert environment.pop("TRITON_PARALLEL_INSTANCE_LOADING") == "0"
    assert environment == {"PATH": "x", "MALLOC_TRIM_THRESHOLD_": "1"}  # the caller's setting has priority


def repository_with(tmp_path, *profiles):
    (tmp_path / "net" / "configs").mkdir(parents=True)
    (tmp_path / "net" / "config.pbtxt").write_text('backend: "python"')
    for profile in profiles:
        (tmp_path / "net" / "configs" / f"{profile}.pbtxt").touch()
    return tmp_path


def test_an_unknown_profile_is_wrong_usage(tmp_path, capsys):
    folder = repository_with(tmp_path, "cpu", "gpu")
    assert main(["--repository", str(folder), "--profile", "cpux"]) == 2
    assert capsys.readouterr().err == f"error: profile 'cpux' is unknown; the models in {folder} have cpu, gpu\n"


def test_an_unknown_profile_is_a_preflight_problem(tmp_path):
    folder = repository_with(tmp_path)
    assert preflight.profile_problems(folder, "") == []
    (found,) = preflight.profile_problems(folder, "cpu")
    assert "profile 'cpu' is unknown; the models in" in found and found.endswith("have no profiles")
    options = ServerOptions(folder, "cpu", grpc_port=free_port())
    assert found in preflight.problems(Installation(Path("tritonserver")), options)


@pytest.mark.parametrize("profile", ["", "cpu", "cpu-latency", "gpu", "tensorrt"])
def test_other_profiles_are_accepted_on_the_servers_own_backend(repository, profile):
    assert preflight.backend_problems(Installation(Path("tritonserver")), repository, profile) == []


@pytest.mark.parametrize("profile", ["cpu-openvino", "cpu-bf16", "cpu-bf16-latency", "cpu-int8", "cpu-int8-latency"])
def test_openvino_is_refused_on_the_servers_own_backend(repository, tmp_path, profile):
    own = Installation(Path("tritonserver"))
    (found,) = preflight.backend_problems(own, repository, profile)
    assert found.startswith(f"profile '{profile}' needs the stand-in backend") and found.endswith("cpu or cpu-latency")
    assert found in preflight.problems(own, ServerOptions(repository, profile, grpc_port=free_port()))
    assert preflight.backend_problems(Installation(Path("tritonserver"), Path("wheel")), repository, profile) == []
    stand_in = tmp_path / "backends" / "onnxruntime" / "model.py"
    flags = [f"--backend-directory={tmp_path / 'backends'}"]
    assert preflight.backend_problems(own, repository, profile, flags) == [found]
    stand_in.parent.mkdir(parents=True)
    stand_in.touch()
    assert preflight.backend_problems(own, repository, profile, flags) == []


@pytest.mark.parametrize("option", ["--grpc-port", "--http-port", "--metrics-port", "--watchdog-port"])
@pytest.mark.parametrize("value", ["99999", "-1", "x"])
def test_a_number_that_is_no_port_is_wrong_usage(tmp_path, capsys, option, value):
    with pytest.raises(SystemExit, match="2"):
        main(["--repository", str(repository_with(tmp_path)), f"{option}={value}"])
    assert f"argument {option}: '{value}' is no port; choose one from 0 to 65535" in capsys.readouterr().err


def test_the_health_file_must_be_outside_the_repository(tmp_path, capsys):
    config = repository_with(tmp_path) / "net" / "config.pbtxt"
    assert main(["--repository", str(tmp_path), "--health-file", str(config)]) == 2
    assert "choose another --health-file" in capsys.readouterr().err
    assert config.read_text() == 'backend: "python"'
