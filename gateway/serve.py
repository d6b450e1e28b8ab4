"""Runs the application on a socket until SIGINT or SIGTERM."""

import asyncio
import logging
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.app import create_app
from gateway.settings import Settings

_IDLE_S = 30  # connections without a request are closed


class _Protocol(H11Protocol):  # type: ignore[misc]  # uvicorn ships its types, mypy is not to follow them
    """Also closes connections that send no complete request head: uvicorn waits for the first one without a limit."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.timeout_keep_alive_task = None
        self._first = self.loop.call_later(_IDLE_S, self._close_without_request)

    def connection_lost(self, exc: Exception | None) -> None:
        self._first.cancel()
        super().connection_lost(exc)

    def _close_without_request(self) -> None:
        if self.scope is None and not self.transport.is_closing():
            self.transport.close()


def server(
    settings: Settings,
    trusted_proxies: Sequence[str] = (),
    tls: tuple[Path, Path] | None = None,
    exit_timeout_s: int = 40,
) -> uvicorn.Server:
    """Return the server of the application.

    Args:
        settings: of the gateway.
        trusted_proxies: addresses whose `X-Forwarded-For` names the caller.
        tls: certificate and key for HTTPS; None for HTTP.
        exit_timeout_s: longest time in seconds for requests in progress when the gateway stops.
    """
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of each damaged form, with its bytes
    config = uvicorn.Config(
        create_app(settings),
        http=_Protocol,
        ws="websockets-sansio",
        ws_max_size=settings.max_frame_bytes,
        ws_per_message_deflate=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        server_header=False,
        access_log=False,
        log_level="warning",
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=exit_timeout_s,
        ssl_certfile=tls and str(tls[0]),
        ssl_keyfile=tls and str(tls[1]),
    )
    return uvicorn.Server(config)


def serve(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve on a listening socket until SIGINT or SIGTERM; requests in progress are answered before the end."""
    asyncio.run(_announced(server, listener))


async def _announced(server: uvicorn.Server, listener: socket.socket) -> None:
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not task.done():
        await asyncio.sleep(0.01)
    if not task.done():
        host, port = listener.getsockname()[:2]
        shown = "localhost" if host in ("127.0.0.1", "::1") else f"[{host}]" if ":" in host else host
        address = f"{'https' if server.config.is_ssl else 'http'}://{shown}:{port}"
        print(f"the page is on {address}, the API on {address}/docs; Ctrl-C ends", flush=True)
    await task
