"""Runs the application on a socket until SIGINT or SIGTERM."""

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode

from gateway.app import create_app
from gateway.limits import GUARDED, Budget
from gateway.problems import Problem
from gateway.settings import Settings

_IDLE_S = 30  # connections without a request, and those whose caller reads no answer, are closed
_MALFORMED = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_MOST_ENDING = 64  # closed connections that the event loop has not noticed yet
_MOST_FRAGMENTS = 1024  # of one message of a stream
_OTHER_FILES = 128  # open files that are no connections of callers


class _Listener(socket.socket):
    """A listening socket that limits the connections, those whose TLS handshake is not complete included.

    Beyond the limit, the one that has been without a request of the API for the longest time is closed. If every one
    has one, the new one is; such requests have a smaller limit of their own. uvicorn's `limit_concurrency` closes none,
    counts no handshakes and refuses health checks.
    """

    def __init__(self, listener: socket.socket, limit: int):
        super().__init__(fileno=listener.detach())
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # the accepted sockets inherit it
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * _IDLE_S))
        self._limit = limit
        self._open: dict[int, socket.socket] = {}  # those without a request in the order in which they lost it
        self._busy: set[int] = set()
        self._ending: list[socket.socket] = []

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection, and make room for it. Raises: `OSError`s after which the event loop asks again."""
        self._ending = [connection for connection in self._ending if connection.fileno() >= 0]
        if len(self._ending) >= _MOST_ENDING:
            raise BlockingIOError
        connection, address = super().accept()
        if len(self._open) >= self._limit:
            self._open = {file: other for file, other in self._open.items() if other.fileno() == file}
        if len(self._open) >= self._limit and not self._end_idle():
            connection.close()
            raise ConnectionAbortedError
        self._add(connection.fileno(), connection)
        return connection, address

    def busy(self, file: int) -> None:
        """Note that a connection has a request of the API."""
        self._busy.add(file)

    def idle(self, file: int) -> None:
        """Note that a connection has none any more."""
        self._busy.discard(file)
        if file in self._open:  # not ended meanwhile
            self._add(file, self._open[file])

    def gone(self, file: int) -> None:
        """Note that a connection is about to be closed."""
        self._busy.discard(file)

    def _add(self, file: int, connection: socket.socket) -> None:
        self._open.pop(file, None)  # to the end
        self._open[file] = connection

    def _end_idle(self) -> bool:
        file = next((file for file in self._open if file not in self._busy), None)
        if file is None:
            return False
        connection = self._open.pop(file)
        with contextlib.suppress(OSError):  # the caller has hung up
            connection.shutdown(socket.SHUT_RDWR)  # the event loop reads its end, and closes it
        self._ending.append(connection)
        return True


class _Config(uvicorn.Config):  # type: ignore[misc]  # uvicorn ships its types, mypy is not to follow them
    """uvicorn's configuration, with what all connections share."""

    budget: Budget
    listener: _Listener
    max_connections: int


class _Http(H11Protocol):  # type: ignore[misc]
    """Also closes connections that send no complete request head in time: uvicorn's limit ends with its first byte."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._file: int = transport.get_extra_info("socket").fileno()
        self._head = self.loop.call_later(_IDLE_S, self._close_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head.cancel()
        self.config.listener.gone(self._file)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._count()

    def on_response_complete(self) -> None:
        if not self.transport.is_closing():
            self.config.listener.idle(self._file)
            self._head.cancel()
            self._head = self.loop.call_later(_IDLE_S, self._close_idle)
        super().on_response_complete()  # which may begin the next request
        self._count()

    def _count(self) -> None:
        if self._has_request() and self.scope["path"].startswith(GUARDED):
            self.config.listener.busy(self._file)

    def _has_request(self) -> bool:
        is_stream = self not in self.connections  # uvicorn has handed the connection over
        return is_stream or (self.cycle is not None and not self.cycle.response_complete)

    def _close_idle(self) -> None:
        if not self._has_request():
            self.transport.close()


class _Stream(WebSocketsSansIOProtocol):  # type: ignore[misc]
    """A WebSocket's connection: always counted as one with a request; its incomplete frame belongs to the budget."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._file: int = transport.get_extra_info("socket").fileno()
        self._incomplete = self.config.budget.share()

    def connection_lost(self, exc: Exception | None) -> None:
        self.config.listener.gone(self._file)
        self._incomplete.close()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.handshake_initiated:  # uvicorn passes on whole heads only, and waits for more of a malformed one
            self.transport.write(_MALFORMED)
            self.transport.close()
        if self.transport.is_closing():
            return
        if len(self.frames) > _MOST_FRAGMENTS:  # their number is not limited by their size: they may be empty
            return self._fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments in one message")
        size = len(self.conn.reader.buffer) + sum(map(len, self.frames))
        try:
            self._incomplete.add(size - self._incomplete.size)
        except Problem as problem:
            self._fail(CloseCode.TRY_AGAIN_LATER, problem.detail)

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:  # uvicorn logs a traceback for each
                return self._fail(CloseCode.INVALID_DATA, "not UTF-8")
        super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.initial_response and self.close_sent:  # a refusal, which uvicorn takes for a missing answer and logs
            self.handshake_complete = True

    def _fail(self, code: CloseCode, reason: str) -> None:
        self.conn.fail(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = self.disconnected = True
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
    budget = Budget(settings.max_body_bytes)
    config = _Config(
        create_app(settings, budget),
        http=_Http,
        ws=_Stream,
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
    config.budget = budget
    config.max_connections = settings.max_requests + settings.max_streams + settings.spare_connections
    return uvicorn.Server(config)


def serve(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve on a listening socket until SIGINT or SIGTERM; requests in progress are answered before the end."""
    limit = server.config.max_connections
    _allow_files(limit + _MOST_ENDING + _OTHER_FILES)
    server.config.listener = _Listener(listener, limit)
    asyncio.run(_announced(server, server.config.listener))


def _allow_files(count: int) -> None:
    """Raise the process's limit of open files to `count`. Raises: `ValueError` if it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and count > hard:
        raise ValueError(f"{count} open files are needed, {hard} are allowed; raise ulimit -n or accept fewer streams")
    if soft != resource.RLIM_INFINITY and count > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


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
