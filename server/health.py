"""`python -m server.health FILE`: exit code 0 when the server of that health file is healthy, else 1 and the reason.

`python -m server --health-file FILE` writes it after every change, and every few seconds without one. So an old file
means that the launcher has died.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

_OLD_S = 20.0


@dataclass
class Health:
    """The state of a server, as the watchdog observes it.

    Attributes:
        ready: whether the server is running and was ready once.
        models: the watched models.
        broken: model -> its fault.
        recoveries: model -> number of recoveries.
        restarts: number of restarts of the server.
        updates: model -> number of updates to a changed network.
        failed_updates: model -> reason why its changed network was not loaded. The previous one serves.
    """

    ready: bool = False
    models: tuple[str, ...] = ()
    broken: dict[str, str] = field(default_factory=dict)
    recoveries: dict[str, int] = field(default_factory=dict)
    restarts: int = 0
    updates: dict[str, int] = field(default_factory=dict)
    failed_updates: dict[str, str] = field(default_factory=dict)

    @property
    def is_well(self) -> bool:
        """Whether the server is ready and no model is known to be broken."""
        return self.ready and not self.broken

    def write(self, path: Path) -> None:
        """Write the health file atomically."""
        new = path.with_name(f"{path.name}.new")
        document = {"healthy": self.is_well, "checked_at": time.time(), **asdict(self)}
        new.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        os.replace(new, path)


def problem(path: Path, now_s: float) -> str:
    """Return the problem that a health file states or has; empty when the server is healthy."""
    try:
        health = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"{path}: {error}"
    age_s = now_s - health["checked_at"]
    if age_s > _OLD_S:
        return f"{path} was not written for {age_s:.0f} s; the launcher has ended or hangs"
    if health["healthy"]:
        return ""
    return "; ".join(f"{model}: {reason}" for model, reason in health["broken"].items()) or "the server is not ready"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the problem, if there is one. Return 0 for a healthy server, else 1."""
    parser = argparse.ArgumentParser(prog="python -m server.health", description=__doc__)
    parser.add_argument("file", type=Path)
    found = problem(parser.parse_args(argv).file, time.time())
    if found:
        print(found, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
