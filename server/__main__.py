"""`python -m server --repository DIR`: tritonserver in the foreground until SIGTERM or Ctrl-C."""

import signal
import sys
import time

from server.arguments import parse
from server.process import running_server


def main(argv: list[str] | None = None) -> int:
    """Serve until told to stop; return 0 for a clean stop, else tritonserver's own exit code."""
    options = parse(argv)
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


if __name__ == "__main__":
    sys.exit(main())
