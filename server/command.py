"""The command line of tritonserver."""

from pathlib import Path

from server import access
from server.installation import Installation
from server.options import ServerOptions, ServerTls

EXIT_TIMEOUT_S = 10


def command(
    installation: Installation, options: ServerOptions, backends: Path | None, region_prefix: str, key: str
) -> list[str]:
    """Return the arguments of one tritonserver.

    Args:
        installation: the server to run.
        options: what it serves, and where.
        backends: private backend directory; None: the server's own.
        region_prefix: prefix of the names of the Python backend's shared memory regions.
        key: key of the administrative API.
    """
    http, metrics = options.http_port, options.metrics_port
    where = f"-address={options.address}"
    return [
        str(installation.binary),
        f"--model-repository={options.repository.resolve()}",
        "--model-control-mode=explicit",  # allows a dead model to be reloaded; closed to the network
        "--load-model=*",
        "--disable-auto-complete-config",
        *([f"--backend-directory={backends}"] if backends else []),
        *([f"--model-config-name={options.profile}"] if options.profile else []),
        f"--grpc{where}",
        f"--grpc-port={options.grpc_port}",
        *([f"--http{where}", f"--http-port={http}"] if http else ["--allow-http=false"]),
        *([f"--metrics{where}", f"--metrics-port={metrics}"] if metrics else ["--allow-metrics=false"]),
        *(_tls_flags(options.tls) if options.tls else []),
        *access.flags(key, http=bool(http)),
        f"--backend-config=python,shm-region-prefix-name={region_prefix}",
        "--backend-config=python,thread-pool-size=4",  # of the default 32 a process, most idle
        f"--exit-timeout-secs={EXIT_TIMEOUT_S}",
        *options.flags,
    ]


def _tls_flags(tls: ServerTls) -> list[str]:
    mutual = [f"--grpc-root-cert={tls.client_ca}", "--grpc-use-ssl-mutual=true"] if tls.client_ca else []
    return ["--grpc-use-ssl=true", f"--grpc-server-cert={tls.certificate}", f"--grpc-server-key={tls.key}", *mutual]
