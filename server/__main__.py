"""`python -m server --repository DIR`: tritonserver in the foreground until SIGTERM or Ctrl-C."""

import argparse
import signal
import sys
import time
from pathlib import Path

from server.process import ServerOptions, running_server


def main(argv: list[str] | None = None) -> int:
    """Serve until told to stop; return 0 for a clean stop, else tritonserver's own exit code."""
    options = _parse(argv)
    signals: list[int] = []  # a handler that raised could do so inside a destructor, where exceptions are lost
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: signals.append(received))
    try:
        with running_server(options, should_stop=lambda: bool(signals)) as server:
            print(f"ready: gRPC on {server.grpc_url}", flush=True)
            while not signals:
                if server.process.poll() is not None:
                    return server.process.returncode or 1  # it ended unasked: a failure, whatever it says
                time.sleep(0.1)
    except KeyboardInterrupt:
        pass
    except (ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


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
