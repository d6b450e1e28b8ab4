"""Progress on stderr: one updated line on a terminal, a line each ten seconds in a log, and a summary."""

import sys
import time
from typing import TextIO

_ON_TERMINAL_S = 0.1
_IN_LOG_S = 10.0


class Progress:
    """Counts of a run, reported with the rate and the remaining time.

    Args:
        unit: name of the counted items, in the plural.
        total: expected number of items; None if unknown.
        stream: destination of the lines; stderr by default.

    Attributes:
        total: as given.
        asked: number of items that were sent.
        answered: number of items with an answer.
        failed: number of items that failed.
    """

    def __init__(self, unit: str, total: int | None = None, stream: TextIO | None = None):
        self._unit = unit
        self.total = total
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._start = self._shown = time.monotonic()
        self._people = 0
        self.asked = self.answered = self.failed = 0

    @property
    def _rate(self) -> float:
        return (self.answered + self.failed) / max(time.monotonic() - self._start, 1e-9)

    def answer(self, people: int) -> None:
        """Count one answered item, and the `people` in it."""
        self.answered += 1
        self._people += people
        self._show()

    def failure(self, text: str | None) -> None:
        """Count one failed item, and write `text` if there is one."""
        self.failed += 1
        if text is not None:
            self.note(text)
        self._show()

    def note(self, text: str) -> None:
        """Write a line."""
        self._write(text + "\n")

    def summary(self, retries: int) -> None:
        """Write the final counts, with the number of `retries`."""
        left_out = max((self.asked if self.total is None else self.total) - self.answered - self.failed, 0)
        counts = f"{self.answered} {self._unit} answered, {self.failed} failed, {left_out} left out"
        self.note(f"{counts}, {self._people} people, {self._rate:.1f} {self._unit}/s, {retries} requests sent again")

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._shown >= (_ON_TERMINAL_S if self._terminal else _IN_LOG_S):
            self._shown = now
            text = line(self._unit, self.answered + self.failed, self.total, self._rate)
            self._write(text if self._terminal else text + "\n")

    def _write(self, text: str) -> None:
        print(f"\r\x1b[K{text}" if self._terminal else text, end="", file=self._stream, flush=True)


def line(unit: str, count: int, total: int | None, rate: float) -> str:
    """Return one line of progress, such as `120/300 frames, 24.1/s, 0:07 left`."""
    if total is None:
        return f"{count} {unit}, {rate:.1f}/s"
    left = f", {clock((total - count) / rate)} left" if rate > 0 else ""
    return f"{count}/{total} {unit}, {rate:.1f}/s{left}"


def clock(seconds: float) -> str:
    """Return a duration as minutes and seconds, with hours when there are any."""
    minutes, second = divmod(max(round(seconds), 0), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
