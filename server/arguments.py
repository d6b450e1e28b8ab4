"""The command line of `python -m server`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from server.options import ServerOptions, ServerTls
from server.preflight import profile_problems
from server.usage import CommandLine, UsageError, input_path, output_path, port


def parse(argv: Sequence[str] | None) -> tuple[ServerOptions, Path | None, int]:
    """Return the server's options, the health file, and the port of the watchdog's metrics (0: none).

    A wrong command line prints an error and ends the process.

    Raises:
        OutputRefused: the health file would overwrite an input.
        UsageError: no model has that profile.
    """
    parser = CommandLine(
        prog="python -m server", description="run tritonserver in the foreground until SIGTERM or Ctrl-C"
    )
    parser.add_argument("--repository", type=input_path, required=True, help="folder of the model repository")
    parser.add_argument("--profile", default="", help="machine profile, such as cpu or gpu")
    parser.add_argument("--address", default="127.0.0.1", help="address to listen on (default: loopback only)")
    parser.add_argument("--grpc-port", type=port, default=8001)
    parser.add_argument("--http-port", type=port, default=0, help="default: HTTP off")
    parser.add_argument("--metrics-port", type=port, default=0, help="default: metrics off")
    parser.add_argument(
        "--health-file", type=output_path, metavar="FILE", help="health file, for python -m server.health FILE"
    )
    parser.add_argument(
        "--watchdog-port", type=port, default=0, help="port of the watchdog's Prometheus metrics; default: off"
    )
    tls = parser.add_argument_group("TLS")
    tls.add_argument("--tls-cert", type=input_path, metavar="PEM", help="the server's certificate")
    tls.add_argument("--tls-key", type=input_path, metavar="PEM", help="its private key")
    tls.add_argument(
        "--tls-client-ca",
        type=input_path,
        metavar="PEM",
        help="accept only callers with a certificate of this authority; it must also have signed --tls-cert",
    )
    tls.add_argument("--tls-name", default="localhost", help="a name in --tls-cert (default: %(default)s)")
    parser.add_argument("flags", nargs="*", metavar="-- FLAG", help="additional flags for tritonserver, after --")
    options = parser.parse_args(argv)
    if bool(options.tls_cert) != bool(options.tls_key) or (options.tls_client_ca and not options.tls_cert):
        parser.error("--tls-cert and --tls-key belong together; --tls-client-ca needs both")
    if not options.grpc_port:
        parser.error("--grpc-port 0 is no port; choose one from 1 to 65535")
    if unknown := profile_problems(options.repository, options.profile):
        raise UsageError(unknown[0])
    server = ServerOptions(
        repository=options.repository,
        profile=options.profile,
        address=options.address,
        grpc_port=options.grpc_port,
        http_port=options.http_port,
        metrics_port=options.metrics_port,
        tls=_tls(options),
        flags=tuple(options.flags),
    )
    return server, options.health_file, options.watchdog_port


def _tls(options: argparse.Namespace) -> ServerTls | None:
    if not options.tls_cert:
        return None
    return ServerTls(options.tls_cert, options.tls_key, options.tls_client_ca, options.tls_name)
