"""How the connection is made: addresses, load balancing, keepalive, TLS, headers."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Path: TypeAlias = str | os.PathLike[str]

DEFAULT_URL = "localhost:8001"
"""Triton's gRPC port on this machine."""

_TARGETS = ("dns", "ipv4", "ipv6", "unix", "unix-abstract", "vsock")  # the schemes of gRPC's naming document
_WITHOUT_PORT = ("unix", "unix-abstract", "vsock")
_NO_LIMIT = -1
# Triton's defaults count a ping as abuse when it comes within 5 minutes of the last, or while no call is running.
_KEEPALIVE_MS = 310_000


@dataclass(frozen=True)
class Tls:
    """An encrypted connection. All three are PEM files.

    Attributes:
        root_certificates: whom to trust; None for gRPC's own list.
        private_key: this client's key, for mutual TLS.
        certificate_chain: this client's certificate, for mutual TLS.
    """

    root_certificates: Path | None = None
    private_key: Path | None = None
    certificate_chain: Path | None = None


def transport_arguments(url: str, tls: Tls | None) -> dict[str, Any]:
    """Return the constructor's arguments of either of tritonclient's gRPC clients.

    Args:
        url: `host:port`, or what gRPC calls a target: `dns:///host:port` for every address behind a name,
            `ipv4:a:port,b:port` for a list. Calls take turns among the servers that are connected.
        tls: None for an unencrypted connection.

    Raises:
        OSError: a TLS file cannot be read.
        ValueError: see `check_url`.
    """
    check_url(url)
    arguments: dict[str, Any] = {"url": url, "channel_args": _channel_options()}
    return arguments if tls is None else arguments | {"ssl": True} | _readable_files(tls)


def check_url(url: str) -> None:
    """Refuse what gRPC would take for the name of a host, or send to port 443.

    Args:
        url: as for `transport_arguments`.

    Raises:
        ValueError: the scheme is none of gRPC's, a host or a port is missing, or a port is out of range.
    """
    scheme, colon, rest = url.partition(":")
    if rest.startswith("//") and scheme not in _TARGETS:
        raise ValueError(
            f"url {url!r}: gRPC knows no {scheme}:// addresses; give host:port, such as {DEFAULT_URL}, "
            f"or one of {', '.join(f'{target}:' for target in _TARGETS)}"
        )
    if not colon or scheme not in _TARGETS:
        _check_address(url, url)
    elif scheme not in _WITHOUT_PORT:
        path = rest[2:].partition("/")[2] if rest.startswith("//") else rest  # after //, the DNS server to ask
        for address in path.split(","):
            _check_address(address, url)


def _check_address(address: str, url: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        raise ValueError(
            f"url {url!r} lacks a host or a port; give host:port ([host]:port for IPv6). Triton's gRPC port is 8001"
        )
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError(f"url {url!r}: the port {port!r} is not a number from 1 to 65535; Triton's gRPC port is 8001")


def grpc_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return `headers` with the lower-case names that gRPC insists on."""
    return {name.lower(): value for name, value in (headers or {}).items()}


def _readable_files(tls: Tls) -> dict[str, str]:
    files = {name: os.fspath(path) for name, path in vars(tls).items() if path is not None}
    for path in files.values():
        open(path, "rb").close()
    return files


def _channel_options() -> list[tuple[str, int | str]]:
    return [
        ("grpc.max_send_message_length", _NO_LIMIT),
        ("grpc.max_receive_message_length", _NO_LIMIT),
        ("grpc.lb_policy_name", "round_robin"),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 0),
        # a server that restarts is back in seconds; gRPC's own pauses grow to two minutes
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.dns_min_time_between_resolutions_ms", 5_000),
        # channels of one process would share connections, and with them one server
        ("grpc.use_local_subchannel_pool", 1),
    ]
