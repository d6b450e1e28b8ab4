"""`python -m server --repository DIR`: tritonserver in the foreground until SIGTERM or Ctrl-C, watched."""

import logging
import signal
import sys

from server.arguments import parse
from server.supervisor import supervise


def main(argv: list[str] | None = None) -> int:
    """Serve until told to stop; return 0 for a clean stop, 1 when the server cannot start or keeps dying."""
    options, health_file = parse(argv)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signals: list[int] = []  # a handler that raised could do so inside a destructor, where exceptions are lost
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: signals.append(received))
    try:
        return supervise(options, lambda: bool(signals), health_file)
    except KeyboardInterrupt:
        return 0
    except (ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
