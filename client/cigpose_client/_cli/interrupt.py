"""Ctrl-C as a wish to end well: what is under way is finished, files are completed."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Item = TypeVar("Item")


class Interrupt:
    """Remembers that Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.pressed = False

    def until(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield `items` until Ctrl-C is pressed."""
        for item in items:
            if self.pressed:
                return
            yield item


@contextmanager
def gentle_interrupt() -> Iterator[Interrupt]:
    """Within the context, the first Ctrl-C only sets `pressed`; the second one interrupts as usual."""
    interrupt = Interrupt()
    before = signal.getsignal(signal.SIGINT)

    def press(number: int, frame: FrameType | None) -> None:
        interrupt.pressed = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, press)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
