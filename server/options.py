"""Options of a server: repository, addresses and certificates."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServerTls:
    """Certificates of the gRPC front end, all PEM files.

    Attributes:
        certificate: the server's certificate.
        key: its private key.
        client_ca: authority that must have signed the certificate of every caller; None accepts all callers. The
            watchdog calls with the server's certificate, so the authority must have signed that one, too.
        name: a name in the server's certificate, which the watchdog expects.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    name: str = "localhost"


@dataclass(frozen=True)
class ServerOptions:
    """Options of a server. A port of 0 disables that front end; gRPC is always enabled.

    `flags` are appended to the command line of tritonserver.
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
        """The gRPC address for clients."""
        return f"{self.address}:{self.grpc_port}"

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port on which the server will listen."""
        return tuple(port for port in (self.grpc_port, self.http_port, self.metrics_port) if port)
