"""The parts of Triton's API that are closed to the network, and the key with which the watchdog uses them.

Health, metadata, inference and model configurations stay open. Configurations contain only what the repository does.
"""

import secrets
from typing import Any

import tritonclient.grpc

from server.options import ServerOptions

CLOSED_APIS = ("shared-memory", "model-repository", "statistics", "trace", "logging")
_HEADER = "cigpose-watchdog"


def new_key() -> str:
    """Return a random key for one run of a server."""
    return secrets.token_hex(32)


def flags(key: str, *, http: bool) -> list[str]:
    """Return the flags that close the administrative API to callers without `key`."""
    lock = f"{','.join(CLOSED_APIS)}:{_HEADER}={key}"
    return [f"--grpc-restricted-protocol={lock}", *([f"--http-restricted-api={lock}"] if http else [])]


def headers(key: str) -> dict[str, str]:
    """Return the gRPC metadata with which a call passes the lock."""
    return {f"triton-grpc-protocol-{_HEADER}": key}


def connect(options: ServerOptions) -> "tritonclient.grpc.InferenceServerClient":
    """Return a connection to the server of these options, from the same machine."""
    arguments: dict[str, Any] = {}
    if options.tls:
        own = {"private_key": str(options.tls.key), "certificate_chain": str(options.tls.certificate)}
        arguments = {
            "ssl": True,
            "root_certificates": str(options.tls.certificate),  # trust this certificate itself
            **(own if options.tls.client_ca else {}),
            "channel_args": [("grpc.ssl_target_name_override", options.tls.name)],
        }
    return tritonclient.grpc.InferenceServerClient(options.grpc_url, **arguments)
