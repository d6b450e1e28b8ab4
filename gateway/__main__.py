"""`python -m gateway --url HOST:8001`: serves HTTP and the page until Ctrl-C or SIGTERM.

Without --url it starts a pose server of its own, with the networks for photos if they are here, else the rendered ones.
"""

import argparse
import contextlib
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from cigpose_client import PoseClient, Tls

from gateway.settings import Settings
from server.usage import CommandLine, command, input_path, need, number, pem_problems, port


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Serve, and return the exit status."""
    options = _parse(argv)
    need("install-gateway", "fastapi", "uvicorn", "websockets", "multipart", "scipy")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises its signals again when it has ended
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(options.host, options.port))
        settings = _settings(options)
        if options.url is None:
            from gateway.local import local_server

            settings = stack.enter_context(local_server(settings))
        from gateway.serve import serve, server

        tls = (options.cert, options.cert_key) if options.cert else None
        serve(server(settings, options.trusted_proxy, tls, options.exit_timeout), listener)
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=1024)


def _settings(options: argparse.Namespace) -> Settings:
    files = (options.tls_ca, options.tls_key, options.tls_cert)
    url, tls = options.url or Settings.url, Tls(*files) if options.tls or any(files) else None
    PoseClient(url, tls=tls).close()  # refuses both before the gateway listens
    return Settings(
        url=url,
        tls=tls,
        models=tuple(options.model),
        timeout_s=options.timeout,
        max_bytes=options.max_bytes,
        max_requests=options.max_requests,
        max_streams=options.max_streams,
        rate=options.rate,
        token=_token(options.token_file) if options.token_file else "",
        cors=tuple(options.cors),
        forward_trace=options.forward_trace,
        samples=options.samples,
    )


def _token(path: Path) -> str:
    """Return the token in a file. Raises ValueError for a file without one, which would admit everybody."""
    try:
        token = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text") from None
    if not token:
        raise ValueError(f"{path} is empty; write the token into it, or leave out --token-file to admit everybody")
    return token


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLine(prog="python -m gateway", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    parser.add_argument("--port", type=port, default=8080, help="0 for any free port (default: %(default)s)")
    parser.add_argument("--samples", type=input_path, metavar="DIR", help="sample pictures for the page")
    text = "pass on callers' traceparent; the server traces every such request, so only for trusted callers"
    parser.add_argument("--forward-trace", action="store_true", help=text)
    _add_server(parser)
    _add_limits(parser)
    options = parser.parse_args(argv)
    if bool(options.cert) != bool(options.cert_key):
        parser.error("--cert and --cert-key belong together")
    if options.cert and (problems := pem_problems(options.cert, options.cert_key)):
        parser.error(problems[0])
    if options.url is None and (options.tls or options.tls_ca or options.tls_key or options.tls_cert):
        parser.error("the server that the gateway starts speaks no TLS; give --url, or leave out --tls, --tls-ca, ...")
    return options


def _add_server(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("pose server").add_argument
    add("--url", help="gRPC address, host:port or dns:///host:port; without it, a server is started")
    add("--model", action="append", default=[], metavar="NAME", help="offer this network only; may be repeated")
    add("--tls", action="store_true", help="encrypt the connection")
    add("--tls-ca", type=input_path, metavar="PEM", help="trusted root certificates (implies --tls)")
    add("--tls-key", type=input_path, metavar="PEM", help="the gateway's key, for mutual TLS (implies --tls)")
    add("--tls-cert", type=input_path, metavar="PEM", help="the gateway's certificate (implies --tls)")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("callers").add_argument
    add("--token-file", type=input_path, metavar="FILE", help="callers must send the token in this file")
    add("--cors", action="append", default=[], metavar="ORIGIN", help="pages of this origin may call; may be repeated")
    add("--cert", type=input_path, metavar="PEM", help="certificate for HTTPS")
    add("--cert-key", type=input_path, metavar="PEM", help="its private key")
    text = "address of a proxy whose X-Forwarded-For names the caller"
    add("--trusted-proxy", action="append", default=[], metavar="IP", help=text)
    text = "requests a second of one caller, 0 for no limit (default: %(default)g)"
    add("--rate", type=number(float, 0, 1e6), default=Settings.rate, metavar="N", help=text)
    text = "concurrent requests (default: %(default)s)"
    add("--max-requests", type=number(int, 1, 1e6), default=Settings.max_requests, metavar="N", help=text)
    text = "concurrent streams (default: %(default)s)"
    add("--max-streams", type=number(int, 1, 1e6), default=Settings.max_streams, metavar="N", help=text)
    text = "longest deadline in seconds (default: %(default)g)"
    add("--timeout", type=number(float, 0.001, 3600), default=Settings.timeout_s, metavar="S", help=text)
    text = "seconds for requests in progress when the gateway stops (default: %(default)s)"
    add("--exit-timeout", type=number(int, 0, 86400), default=40, metavar="S", help=text)
    add(
        "--max-bytes",
        type=number(int, 1, 1e9),
        default=Settings.max_bytes,
        metavar="N",
        help="of a picture (default: %(default)s)",
    )


if __name__ == "__main__":
    sys.exit(main())
