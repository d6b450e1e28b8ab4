"""Keeps a server running: watches it, restarts it when it dies, and gives up after a limited number of tries."""

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
    listeners: Sequence[Callable[[Health], None]] = (),
    should_update: Callable[[], bool] = lambda: False,
) -> int:
    """Serve until `should_stop`, then return 0. Return 1 when the server keeps dying, so that a supervisor can react.

    Args:
        options: what to serve, and where.
        should_stop: polled; true stops the server.
        listeners: called with the health after every change, and every few seconds without one.
        should_update: polled; true once for every request to load changed networks.

    Raises:
        KeyboardInterrupt: `should_stop` returned true while the server was getting ready.
        RuntimeError: the first start failed.
        ValueError: a check before the first start failed.
    """
    health, tries = Health(), Tries(_RESTARTS, _WINDOW_S)

    def notify() -> None:
        for listener in listeners:
            listener(health)

    notify()
    try:
        while (reason := _serve_once(options, health, notify, should_stop, should_update)) is not None:
            pause_s = tries.take(time.monotonic())
            if pause_s is None:
                _LOG.error("%s; giving up after %d restarts", reason, _RESTARTS)
                return 1
            _LOG.error("%s; restarting the server in %.0f s (%d of %d)", reason, pause_s, tries.count, _RESTARTS)
            _wait(pause_s, should_stop)
            health.restarts += 1
        return 0
    finally:
        health.ready = False
        notify()


def _serve_once(
    options: ServerOptions,
    health: Health,
    notify: Callable[[], None],
    should_stop: Callable[[], bool],
    should_update: Callable[[], bool],
) -> str | None:
    """Run one server until it ends. Return why a restart is needed, or None after `should_stop`."""
    try:
        with running_server(options, should_stop=should_stop) as server:
            health.ready = True
            health.broken.clear()
            notify()
            print(f"ready: gRPC on {server.grpc_url}", flush=True)
            try:
                Watchdog(server, health, notify).run(should_stop, should_update)
            finally:
                health.ready = False
                notify()
    except (RestartNeeded, Crashed, InferenceServerException) as need:
        return str(need)
    except (RuntimeError, ValueError) as error:
        if not health.models:  # the first start failed; it may also have crashed before
            raise
        return str(error)
    return None


def _wait(pause_s: float, should_stop: Callable[[], bool]) -> None:
    deadline = time.monotonic() + pause_s
    while time.monotonic() < deadline and not should_stop():
        time.sleep(0.1)
