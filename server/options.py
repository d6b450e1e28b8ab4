"""What one server serves, where it listens, and by which certificates."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServerTls:
    """Certificates of the gRPC front end, all PEM files.

    Attributes:
        certificate: the server's own.
        key: its private key.
        client_ca: callers must show a certificate that this authority signed; None admits every caller. Our own
            watchdog then calls with the server's certificate, so the authority must have signed that one, too.
        name: a name in the server's certificate, by which the watchdog calls.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    name: str = "localhost"


@dataclass(frozen=True)
class ServerOptions:
    """What one server serves, and where it listens; a port of 0 closes that front end (gRPC is always open).

    `flags` are handed to tritonserver after all of ours.
    """

    repository: Path
    profile: str = ""
    address: str = "127.0.0.1"
    grpc_port: int = 8001
    http_port: int = 0
    metrics_port: int = 0
    tls: ServerTls | None = None
    flags: tuple[str, ...] = ()

    @property
    def grpc_url(self) -> str:
        """Where clients call."""
        return f"{self.address}:{self.grpc_port}"

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port that the server will hold."""
        return tuple(port for port in (self.grpc_port, self.http_port, self.metrics_port) if port)
