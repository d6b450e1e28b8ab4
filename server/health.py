"""`python -m server.health FILE`: exit code 0 when the server of that health file is well, else 1 and the reason.

`python -m server --health-file FILE` writes it: after every change, and every few seconds without one, so that a file
which has grown old tells of a launcher that died.
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
    """What the watchdog knows.

    Attributes:
        ready: the server has got ready and not been stopped or lost since.
        models: those that are watched.
        broken: model -> what is wrong with it.
        recoveries: model -> how often it was brought back.
        restarts: how often the whole server was.
        updates: model -> how often a changed network took the place of the one before.
        failed_updates: model -> why its changed network does not serve; the one before does.
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
        """Whether every model answers, as far as is known."""
        return self.ready and not self.broken

    def write(self, path: Path) -> None:
        """Write the health file; readers never see half of it."""
        new = path.with_name(f"{path.name}.new")
        document = {"healthy": self.is_well, "checked_at": time.time(), **asdict(self)}
        new.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        os.replace(new, path)


def problem(path: Path, now_s: float) -> str:
    """Return what a health file complains of, or what is wrong with the file; empty when all is well."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"{path}: {error}"
    age_s = now_s - told["checked_at"]
    if age_s > _OLD_S:
        return f"nobody has written {path} for {age_s:.0f} s"
    if told["healthy"]:
        return ""
    return "; ".join(f"{model}: {reason}" for model, reason in told["broken"].items()) or "the server is not ready"


def main(argv: Sequence[str] | None = None) -> int:
    """Tell by the exit code."""
    parser = argparse.ArgumentParser(prog="python -m server.health", description=__doc__)
    parser.add_argument("file", type=Path)
    found = problem(parser.parse_args(argv).file, time.time())
    if found:
        print(found, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
