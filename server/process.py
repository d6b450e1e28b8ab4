"""Starts one tritonserver, waits until it is ready, and stops it without a trace."""

import contextlib
import itertools
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
from server.installation import find_installation
from server.log import ServerLog
from server.options import ServerOptions, ServerTls
from server.preflight import is_free, problems, profiles
from server.scratch import remove_leftovers, scratch_folder

__all__ = ["Crashed", "RunningServer", "ServerOptions", "ServerTls", "free_port", "running_server"]

_DRAIN_TIMEOUT_S = 30  # as long as an accepted picture may wait in the queue
_STOP_TIMEOUT_S = 2 * EXIT_TIMEOUT_S
_CHILD = Path(__file__).with_name("child.py")
_PORTS = itertools.cycle(random.sample(range(20000, 32768), 10000))


class Crashed(RuntimeError):
    """The server was ended by a signal, its own or another's, so a second try may succeed."""


@dataclass(frozen=True)
class RunningServer:
    """A ready server.

    Attributes:
        options: what it was started with.
        process: tritonserver itself.
        control: its administrative side, which only we can open.
    """

    options: ServerOptions
    process: "subprocess.Popen[bytes]"
    control: Control

    @property
    def grpc_url(self) -> str:
        """Where clients call."""
        return self.options.grpc_url


def free_port() -> int:
    """Return a port of the loopback address that nobody holds at this moment, another one each time.

    Not one of those that the kernel gives to outgoing connections (32768 and above, where it is not told otherwise):
    one of these could take it before the server does.
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
    """Start tritonserver, yield when every model is ready, stop it at the end.

    Args:
        options: what and where.
        log: file for the server's output; None passes it on to our stderr.
        timeout_s: for getting ready.
        should_stop: asked again and again while waiting; true ends the wait.

    Raises:
        KeyboardInterrupt: `should_stop` said so before the server was ready.
        ValueError: something is missing; every problem with its remedy, one a line.
        RuntimeError: the server ended (`Crashed` by a signal) or did not get ready; the last line says why.
    """
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
            failed = Crashed if (process.poll() or 0) < 0 else RuntimeError
            raise failed(failure + output.explanation([it for it in profiles(options.repository) if it[:3] == "cpu"]))
        output.forget()
        stack.callback(_drain, process, control)
        yield RunningServer(options, process, control)


def _start(arguments: list[str], environment: dict[str, str], output: IO[bytes] | int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-I", str(_CHILD), str(os.getpid()), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,  # our own carries the ready line alone
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches us; we stop the server in order
    )


def _wait_until_ready(
    process: "subprocess.Popen[bytes]", control: Control, timeout_s: float, should_stop: Callable[[], bool]
) -> str:
    """Return an empty string when the server is ready, else what is wrong."""
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < timeout_s:
        if should_stop():
            raise KeyboardInterrupt
        if (code := process.poll()) is not None:
            return f"tritonserver ended with {code} after {elapsed:.1f} s"
        with contextlib.suppress(InferenceServerException):
            if control.is_ready():
                return ""
        time.sleep(0.05)
    return f"tritonserver is not ready after {timeout_s:.0f} s"


def _drain(process: "subprocess.Popen[bytes]", control: Control) -> None:
    """Let the server finish what it has accepted; it refuses the rest. A server that cannot any more is stopped."""
    with contextlib.suppress(InferenceServerException):
        if process.poll() is None:
            control.close_ensembles(_DRAIN_TIMEOUT_S)


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
