"""Starts one tritonserver, waits until it is ready, and stops it without a trace."""

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import tritonclient.grpc

from server.installation import Installation, find_installation
from server.preflight import problems

_STOP_TIMEOUT_S = 20
_SHM = Path("/dev/shm")


@dataclass(frozen=True)
class ServerOptions:
    """What one server serves, and where it listens; a port of 0 closes that front end (gRPC is always open)."""

    repository: Path
    profile: str = ""
    address: str = "127.0.0.1"
    grpc_port: int = 8001
    http_port: int = 0
    metrics_port: int = 0

    @property
    def grpc_url(self) -> str:
        """Where clients call."""
        return f"{self.address}:{self.grpc_port}"


@dataclass(frozen=True)
class RunningServer:
    """A ready server."""

    options: ServerOptions
    process: "subprocess.Popen[bytes]"

    @property
    def grpc_url(self) -> str:
        """Where clients call."""
        return self.options.grpc_url


def free_port() -> int:
    """Return a port of the loopback address that nobody holds at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_server(
    options: ServerOptions,
    *,
    log: Path | None = None,
    timeout_s: float = 120,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[RunningServer]:
    """Start tritonserver, yield when every model is ready, stop it at the end.

    Args:
        options: what and where.
        log: file for the server's output; None passes it on to our stderr.
        timeout_s: for getting ready.
        should_stop: asked again and again while waiting; true ends the wait.

    Raises:
        KeyboardInterrupt: `should_stop` said so before the server was ready.
        ValueError: something is missing; every problem with its remedy, one a line.
        RuntimeError: the server ended or did not get ready; with the end of its log.
    """
    installation = find_installation()
    ports = [port for port in (options.grpc_port, options.http_port, options.metrics_port) if port]
    found = problems(installation, options.repository, options.address, ports)
    if found:
        raise ValueError("\n".join(found))
    with (
        tempfile.TemporaryDirectory(prefix=f"cigpose-server-{os.getpid()}-") as scratch,
        contextlib.ExitStack() as stack,
    ):
        shm_prefix = Path(scratch).name
        stack.callback(_remove_shared_memory, shm_prefix)
        command = _command(installation, options, Path(scratch), shm_prefix)
        output = stack.enter_context(log.open("wb")) if log else None
        process = _start(command, installation.environment(os.environ), output)
        stack.callback(_stop, process)
        _wait_until_ready(process, options, timeout_s, log, should_stop)
        yield RunningServer(options, process)


def _command(installation: Installation, options: ServerOptions, scratch: Path, shm_prefix: str) -> list[str]:
    backends = installation.make_backends(scratch / "backends")
    http, metrics = options.http_port, options.metrics_port
    return [
        str(installation.binary),
        f"--model-repository={options.repository.resolve()}",
        "--disable-auto-complete-config",
        *([f"--backend-directory={backends}"] if backends else []),
        *([f"--model-config-name={options.profile}"] if options.profile else []),
        f"--grpc-address={options.address}",
        f"--grpc-port={options.grpc_port}",
        *([f"--http-address={options.address}", f"--http-port={http}"] if http else ["--allow-http=false"]),
        *(
            [f"--metrics-address={options.address}", f"--metrics-port={metrics}"]
            if metrics
            else ["--allow-metrics=false"]
        ),
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        f"--exit-timeout-secs={_STOP_TIMEOUT_S // 2}",
    ]


def _start(command: list[str], environment: dict[str, str], output: IO[bytes] | None) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output or 2,  # our stdout carries the ready line alone
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches us; we stop the server in order
        preexec_fn=_die_with_parent,
    )


def _die_with_parent() -> None:
    """In the child: be terminated when our own process is killed (Linux, prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _wait_until_ready(
    process: "subprocess.Popen[bytes]",
    options: ServerOptions,
    timeout_s: float,
    log: Path | None,
    should_stop: Callable[[], bool],
) -> None:
    started = time.monotonic()
    with tritonclient.grpc.InferenceServerClient(options.grpc_url) as client:
        while (elapsed := time.monotonic() - started) < timeout_s:
            if should_stop():
                raise KeyboardInterrupt
            if process.poll() is not None:
                raise RuntimeError(f"tritonserver ended with {process.returncode} after {elapsed:.1f} s{_tail(log)}")
            with contextlib.suppress(tritonclient.grpc.InferenceServerException):
                if client.is_server_ready(client_timeout=1.0):
                    return
            time.sleep(0.05)
    raise RuntimeError(f"tritonserver is not ready after {timeout_s:.0f} s{_tail(log)}")


def _tail(log: Path | None, count: int = 20) -> str:
    """The log's errors and its end, without Triton's tables."""
    if log is None:
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    told = [line for line in lines if line and not line.startswith(("|", "+-"))]
    errors = [line for line in told[:-count] if re.match(r"E\d{4} ", line)]  # glog's form: E1120 19:24:46 ...
    return "; its errors and the end of its log:\n" + "\n".join(errors + told[-count:])


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask, wait, then end the whole process group (a killed server leaves its stubs behind)."""
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _remove_shared_memory(prefix: str) -> None:
    for region in _SHM.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)
