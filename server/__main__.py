"""`python -m server --repository DIR`: tritonserver in the foreground until SIGTERM or Ctrl-C."""

import argparse
import signal
import sys
from pathlib import Path

from server.process import ServerOptions, running_server


def main(argv: list[str] | None = None) -> int:
    """Serve until told to stop; return 0 for a clean stop, else tritonserver's own exit code."""
    options = _parse(argv)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop_serving)
    try:
        with running_server(options) as server:
            print(f"ready: gRPC on {server.grpc_url}", flush=True)
            return server.process.wait() or 1  # a server that ends unasked has failed, whatever it says
    except KeyboardInterrupt:
        return 0
    except (ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _stop_serving(number: int, frame: object) -> None:
    for again in (signal.SIGTERM, signal.SIGINT):
        signal.signal(again, signal.SIG_IGN)  # a second signal must not interrupt the clean-up
    raise KeyboardInterrupt


def _parse(argv: list[str] | None) -> ServerOptions:
    parser = argparse.ArgumentParser(prog="python -m server", description=__doc__)
    parser.add_argument("--repository", type=Path, required=True, help="folder of models")
    parser.add_argument("--profile", default="", help="custom configuration, for instance cpu or gpu")
    parser.add_argument("--address", default="127.0.0.1", help="address to listen on (default: loopback only)")
    parser.add_argument("--grpc-port", type=int, default=8001)
    parser.add_argument("--http-port", type=int, default=0, help="default: HTTP off")
    parser.add_argument("--metrics-port", type=int, default=0, help="default: metrics off")
    return ServerOptions(**vars(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
