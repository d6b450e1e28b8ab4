"""Starts one tritonserver, waits until it is ready, and stops it without leaving processes or shared memory."""

import contextlib
import itertools
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tritonclient.utils import InferenceServerException

from server import access
from server.command import EXIT_TIMEOUT_S, command
from server.control import Control
from server.installation import Installation, find_installation
from server.log import ServerLog
from server.options import ServerOptions, ServerTls
from server.preflight import backend_problems, is_free, problems, profiles
from server.scratch import remove_leftovers, scratch_folder

__all__ = ["Crashed", "RunningServer", "ServerOptions", "ServerTls", "free_port", "running_server"]

_LOG = logging.getLogger(__name__)
_DRAIN_TIMEOUT_S = 30  # the longest wait of an accepted picture in the queue
_STARTS = 3
_STOP_TIMEOUT_S = 2 * EXIT_TIMEOUT_S
_CHILD = Path(__file__).with_name("child.py")
_PORTS = itertools.cycle(random.sample(range(20000, 32768), 10000))


class Crashed(RuntimeError):
    """The server was ended by a signal, without a model that it could not load. So another try may succeed."""


@dataclass(frozen=True)
class RunningServer:
    """A ready server.

    Attributes:
        options: the options of its start.
        process: the process of tritonserver.
        control: its administrative API, which is closed to the network.
    """

    options: ServerOptions
    process: "subprocess.Popen[bytes]"
    control: Control

    @property
    def grpc_url(self) -> str:
        """The gRPC address for clients."""
        return self.options.grpc_url


def free_port() -> int:
    """Return a free port of the loopback address, a different one on each call.

    The port is below 32768, where the kernel's default range for outgoing connections begins. A connection could
    otherwise take it before the server does.
    """
    return next(port for port in _PORTS if is_free("127.0.0.1", port))


@contextlib.contextmanager
def running_server(
    options: ServerOptions,
    *,
    log: Path | None = None,
    timeout_s: float = 120,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[RunningServer]:
    """Start tritonserver, yield when every model is ready, and stop it at the end.

    A start that crashes is tried twice more, because the Python backend sometimes aborts with a `lock_exception` while
    models load (https://github.com/triton-inference-server/server/issues/8882).

    Args:
        options: what to serve, and where.
        log: file for the server's output; None passes it on to stderr.
        timeout_s: longest time until the server is ready.
        should_stop: polled while waiting; true ends the wait.

    Raises:
        KeyboardInterrupt: `should_stop` returned true before the server was ready.
        ValueError: a check failed; the message has one line for each problem, with its remedy.
        RuntimeError: the server ended (`Crashed`: by a signal) or did not get ready; the last line has the reason.
    """
    with contextlib.ExitStack() as stack:
        for tries_left in reversed(range(_STARTS)):
            try:
                server = stack.enter_context(_started(options, log, timeout_s, should_stop))
                break
            except Crashed as crash:
                if not tries_left:
                    raise
                _LOG.warning("%s; starting it again", str(crash).splitlines()[0].rstrip(":"))
        yield server


@contextlib.contextmanager
def _started(
    options: ServerOptions, log: Path | None, timeout_s: float, should_stop: Callable[[], bool]
) -> Iterator[RunningServer]:
    installation = find_installation()
    remove_leftovers()
    found = problems(installation, options)
    if found:
        raise ValueError("\n".join(found))
    with scratch_folder() as scratch, contextlib.ExitStack() as stack:
        key = access.new_key()
        backends = installation.make_backends(scratch / "backends")
        arguments = command(installation, options, backends, scratch.name, key)
        output = ServerLog(log)
        stack.callback(output.close)
        process = _start(arguments, installation.environment(os.environ), output.target)
        output.follow(process)
        stack.callback(_stop, process)
        control = stack.enter_context(Control(access.connect(options), key))
        if failure := _wait_until_ready(process, control, timeout_s, should_stop):
            # a server that cannot load a model may also crash while it ends; it would not load it at another try
            failed = Crashed if (process.poll() or 0) < 0 and not output.names_a_model() else RuntimeError
            raise failed(failure + output.explanation(_cpu_profiles(installation, options)))
        output.forget()
        stack.callback(_drain, process, control)
        yield RunningServer(options, process, control)


def _cpu_profiles(installation: Installation, options: ServerOptions) -> list[str]:
    names = [name for name in profiles(options.repository) if name.startswith("cpu")]
    return [name for name in names if not backend_problems(installation, options.repository, name, options.flags)]


def _start(arguments: list[str], environment: dict[str, str], output: IO[bytes] | int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-I", str(_CHILD), str(os.getpid()), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,  # the launcher's stdout carries the ready line only
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C must not reach the server; the launcher stops it
    )


def _wait_until_ready(
    process: "subprocess.Popen[bytes]", control: Control, timeout_s: float, should_stop: Callable[[], bool]
) -> str:
    """Return an empty string when the server is ready, else the problem."""
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < timeout_s:
        if should_stop():
            raise KeyboardInterrupt
        if (code := process.poll()) is not None:
            return f"tritonserver {ending(code)} after {elapsed:.1f} s"
        with contextlib.suppress(InferenceServerException):
            if control.is_ready():
                return ""
        time.sleep(0.05)
    return f"tritonserver is not ready after {timeout_s:.0f} s"


def ending(code: int) -> str:
    """Return how a process ended, from its exit code: `ended with 1` or `was ended by SIGSEGV`."""
    return f"ended with {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"


def _drain(process: "subprocess.Popen[bytes]", control: Control) -> None:
    """Let the server finish accepted requests and reject new ones. If draining times out, the server is stopped."""
    with contextlib.suppress(InferenceServerException):
        if process.poll() is None:
            control.close_ensembles(_DRAIN_TIMEOUT_S)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Terminate the server, wait, then kill its process group, because a killed server leaves its stubs behind."""
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
