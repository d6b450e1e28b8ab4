"""Keeps a server running: watches it, starts it anew when it dies, and gives up after a bounded number of tries."""

import logging
import time
from collections.abc import Callable, Sequence

from tritonclient.utils import InferenceServerException

from server.health import Health
from server.process import Crashed, ServerOptions, running_server
from server.tries import Tries
from server.watchdog import RestartNeeded, Watchdog

_LOG = logging.getLogger(__name__)
_RESTARTS, _WINDOW_S = 4, 900.0


def supervise(
    options: ServerOptions,
    should_stop: Callable[[], bool],
    told: Sequence[Callable[[Health], None]] = (),
    should_update: Callable[[], bool] = lambda: False,
) -> int:
    """Serve until `should_stop`; return 0 then, and 1 when the server keeps dying (for a supervisor of ours).

    Args:
        options: what and where.
        should_stop: asked again and again.
        told: called with the health after every change, and every few seconds without one.
        should_update: asked again and again; true once for every wish to serve changed networks.

    Raises:
        KeyboardInterrupt: `should_stop` said so while the server was getting ready.
        RuntimeError: the first start failed.
        ValueError: something is missing.
    """
    health, tries = Health(), Tries(_RESTARTS, _WINDOW_S)

    def tell() -> None:
        for teller in told:
            teller(health)

    tell()
    try:
        while (reason := _serve_once(options, health, tell, should_stop, should_update)) is not None:
            pause_s = tries.take(time.monotonic())
            if pause_s is None:
                _LOG.error("%s; giving up after %d restarts", reason, _RESTARTS)
                return 1
            _LOG.error("%s; starting the server anew in %.0f s (%d of %d)", reason, pause_s, tries.count, _RESTARTS)
            _wait(pause_s, should_stop)
            health.restarts += 1
        return 0
    finally:
        health.ready = False
        tell()


def _serve_once(
    options: ServerOptions,
    health: Health,
    tell: Callable[[], None],
    should_stop: Callable[[], bool],
    should_update: Callable[[], bool],
) -> str | None:
    """Run one server to its end; return why another one is needed, or None when told to stop."""
    try:
        with running_server(options, should_stop=should_stop) as server:
            health.ready = True
            health.broken.clear()
            tell()
            print(f"ready: gRPC on {server.grpc_url}", flush=True)
            try:
                Watchdog(server, health, tell).run(should_stop, should_update)
            finally:
                health.ready = False
                tell()
    except (RestartNeeded, Crashed, InferenceServerException) as need:
        return str(need)
    except (RuntimeError, ValueError) as error:
        if not health.models:  # no server has been ready yet; a start that must fail may also crash first
            raise
        return str(error)
    return None


def _wait(pause_s: float, should_stop: Callable[[], bool]) -> None:
    deadline = time.monotonic() + pause_s
    while time.monotonic() < deadline and not should_stop():
        time.sleep(0.1)
