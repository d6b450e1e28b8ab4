"""Progress on stderr: a line that renews itself on a terminal, a line now and then in a log."""

import sys
import time
from typing import TextIO

from cigpose_client._poses import Poses

_ON_TERMINAL_S = 0.1
_IN_LOG_S = 10.0
_BAR = 20  # characters


class Progress:
    """Counts what is done and says so, with the rate and the time left.

    Args:
        unit: what is counted, in the plural.
        total: how many there will be; None when nobody knows.
        stream: where to write; stderr by default.
    """

    def __init__(self, unit: str, total: int | None = None, stream: TextIO | None = None):
        self._unit = unit
        self._total = total
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._start = self._said = time.monotonic()
        self.count = self.people = self.failed = 0

    @property
    def rate(self) -> float:
        """Units per second so far."""
        return self.count / max(time.monotonic() - self._start, 1e-9)

    def step(self, outcome: Poses | Exception, name: str) -> None:
        """Count one more, called `name`, and say so when it is time; a failure is said at once."""
        self.count += 1
        if isinstance(outcome, Exception):
            self.failed += 1
            self._note(f"{name}: {outcome}")
        else:
            self.people += len(outcome)
        now = time.monotonic()
        if now - self._said >= (_ON_TERMINAL_S if self._terminal else _IN_LOG_S):
            self._said = now
            self._say(line(self._unit, self.count, self._total, self.rate))

    def summary(self, retries: int) -> None:
        """Write how it went, with the number of requests that were sent again."""
        counts = f"{self.count} {self._unit}, {self.people} people, {self.rate:.1f} {self._unit}/s"
        self._note(f"{counts}, {retries} requests sent again, {self.failed} failed")

    def _note(self, text: str) -> None:
        self._clear()
        print(text, file=self._stream, flush=True)

    def _say(self, text: str) -> None:
        self._clear()
        if self._terminal:
            print(bar(self.count, self._total) + text, end="", file=self._stream, flush=True)
        else:
            print(text, file=self._stream, flush=True)

    def _clear(self) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=self._stream)


def line(unit: str, count: int, total: int | None, rate: float) -> str:
    """Return the progress in words, such as `120/300 frames, 24.1/s, 0:07 left`."""
    if total is None:
        return f"{count} {unit}, {rate:.1f}/s"
    left = f", {clock((total - count) / rate)} left" if rate > 0 else ""
    return f"{count}/{total} {unit}, {rate:.1f}/s{left}"


def bar(count: int, total: int | None) -> str:
    """Return the progress as a bar, such as `[########------------] `; nothing where the end is not known."""
    if not total:
        return ""
    done = min(_BAR * count // total, _BAR)
    return f"[{'#' * done}{'-' * (_BAR - done)}] "


def clock(seconds: float) -> str:
    """Return a duration as minutes and seconds, with hours when there are any."""
    minutes, second = divmod(max(round(seconds), 0), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
