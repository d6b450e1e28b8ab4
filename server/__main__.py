"""`python -m server --repository DIR`: runs tritonserver with a watchdog in the foreground until SIGTERM or Ctrl-C.

SIGHUP loads networks whose files have changed.
"""

import logging
import signal
import sys

from server.arguments import parse
from server.exposition import exposition
from server.supervisor import supervise
from server.usage import command


@command
def main(argv: list[str] | None = None) -> int:
    """Serve until a stop signal. Return 0 for a clean stop, 1 when the server cannot start or keeps dying."""
    options, health_file, watchdog_port = parse(argv)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stops: list[int] = []  # handlers do not raise: an exception inside a destructor would be lost
    updates: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stops.append(received))
    signal.signal(signal.SIGHUP, lambda received, _: updates.append(received))
    try:
        with exposition(options.address, watchdog_port) as show:
            listeners = [show, *([lambda health: health.write(health_file)] if health_file else [])]
            return supervise(options, lambda: bool(stops), listeners, lambda: bool(updates and updates.pop()))
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
