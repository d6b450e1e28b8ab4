"""Settings of the gRPC connection: address, load balancing, keepalive, TLS, headers."""

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
# By Triton's defaults, pings less than 5 minutes apart, or while no call runs, are abuse.
_KEEPALIVE_MS = 310_000

_CHANNEL_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_send_message_length", _NO_LIMIT),
    ("grpc.max_receive_message_length", _NO_LIMIT),
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # a restarted server is back in seconds, but gRPC's default pauses grow to two minutes
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.dns_min_time_between_resolutions_ms", 5_000),
    # otherwise the channels of one process share connections, and so a single server
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclass(frozen=True)
class Tls:
    """Certificates and key of an encrypted connection, as paths of PEM files.

    Attributes:
        root_certificates: trusted roots; None for gRPC's own list.
        private_key: this client's key, for mutual TLS.
        certificate_chain: this client's certificate, for mutual TLS.

    Raises:
        ValueError: one of the key and its certificate is missing; gRPC would end the process.
    """

    root_certificates: Path | None = None
    private_key: Path | None = None
    certificate_chain: Path | None = None

    def __post_init__(self) -> None:
        if (self.private_key is None) != (self.certificate_chain is None):
            raise ValueError("private_key and certificate_chain belong together: give both, or none")


def transport_arguments(url: str, tls: Tls | None) -> dict[str, Any]:
    """Return the constructor arguments that both of tritonclient's gRPC clients take.

    Args:
        url: `host:port`, or a gRPC target: `dns:///host:port` for every address behind a name, `ipv4:a:port,b:port` for
            a list. Calls take turns among the servers that are connected.
        tls: None for an unencrypted connection.

    Raises:
        OSError: a TLS file cannot be read.
        ValueError: see `check_url`.
    """
    check_url(url)
    arguments: dict[str, Any] = {"url": url, "channel_args": _CHANNEL_OPTIONS}
    return arguments if tls is None else arguments | {"ssl": True} | _readable_files(tls)


def check_url(url: str) -> None:
    """Refuse addresses that gRPC would misread: it takes an unknown scheme for a host name, and 443 for the port.

    Args:
        url: as for `transport_arguments`.

    Raises:
        ValueError: gRPC does not know the scheme, a host or a port is missing, or a port is out of range.
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
        path = rest[2:].partition("/")[2] if rest.startswith("//") else rest  # between // and /: a DNS server
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
    """Return `headers` with lower-case names, which gRPC requires."""
    return {name.lower(): value for name, value in (headers or {}).items()}


def _readable_files(tls: Tls) -> dict[str, str]:
    files = {name: os.fspath(path) for name, path in vars(tls).items() if path is not None}
    for path in files.values():
        open(path, "rb").close()
    return files
