"""One run: concurrent requests, results in order, and an early end that keeps every answer that has arrived."""

import argparse
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, TypeAlias, TypeVar

from cigpose_client._cli import arguments
from cigpose_client._cli.progress import Progress
from cigpose_client._client import PoseClient
from cigpose_client._errors import PICTURE_FAILURES, PoseClientError

Item = TypeVar("Item")
Result = TypeVar("Result")
_Waiting: TypeAlias = deque[tuple[Item, Future[Result]]]

INTERRUPTED = 130
_GRACE_S = 1.5  # for running requests, after Ctrl-C or a failure
_POLL_S = 0.1
_WORKER = "cigpose-client"
_WINDOW = 2  # times in_flight: items, finished or not, that may be held behind a slow one


class RunEnded(Exception):
    """A failed picture or frame ended the run. The text is its name; the `__cause__` is the error."""


class Run:
    """Requests for one item after another, until the last one, Ctrl-C or a failure.

    Args:
        client: sends the requests.
        progress: counts the failures here; the caller counts each answer once it is written.
        in_flight: concurrent requests.
        go_on: whether the run continues after a failure.

    Attributes:
        interrupted: whether Ctrl-C was pressed, or SIGTERM received.
        failure: the exception that ended the run: `RunEnded`, or a bug's own; None if none did.
    """

    def __init__(self, client: PoseClient, progress: Progress, in_flight: int, go_on: bool):
        self.client = client
        self.progress = progress
        self.interrupted = False
        self.failure: BaseException | None = None
        self._in_flight = in_flight
        self._go_on = go_on

    @property
    def status(self) -> int:
        """The exit status."""
        return INTERRUPTED if self.interrupted else int(self.progress.failed > 0)

    def interrupt(self) -> None:
        """Request an early end; safe in a signal handler."""
        self.interrupted = True

    def answers(
        self, work: Callable[[Item], Result], items: Iterable[Item | None], name: Callable[[Item], str]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """Yield (item, work(item)) in the order of `items`, or (item, exception) if the run continues after failures.

        After Ctrl-C or a failure, no further item is started. Answers that arrive within 1.5 s are yielded, also behind
        a missing one; the rest is cancelled when the client is closed.

        Args:
            work: called with each item, in a thread of its own.
            items: read in the caller's thread; None while no next item is available.
            name: returns the name of an item for messages.
        """
        for item, future in self._finished(work, items):
            error = future.exception()
            if error is None:
                yield item, future.result()
            elif self._go_on and isinstance(error, PICTURE_FAILURES):
                self.progress.failure(f"{name(item)}: {reason(error)}")
                yield item, error
            elif self._over:
                self.progress.failure(f"{name(item)}: {reason(error)}")
            else:
                self.failure = error
                if isinstance(error, PICTURE_FAILURES):
                    self.failure = RunEnded(name(item))
                    self.failure.__cause__ = error
                self.progress.failure(None)  # the text ends the run, after the summary

    @property
    def _over(self) -> bool:
        return self.interrupted or self.failure is not None

    def _finished(
        self, work: Callable[[Item], Result], items: Iterable[Item | None]
    ) -> Iterator[tuple[Item, Future[Result]]]:
        """Yield items whose work is finished: in order, and at an early end those of the last 1.5 s."""
        waiting: _Waiting[Item, Result] = deque()
        for item in items:
            if item is not None and not self._over:
                self.progress.asked += 1
                waiting.append((item, in_thread(work, item)))
            yield from self._due(waiting, self._in_flight, _WINDOW * self._in_flight)
            if self._over:
                break
        yield from self._due(waiting, 1, 1)
        if self.interrupted and waiting:
            self.progress.note(
                "Stopping: running requests get 1.5 s to finish. Press Ctrl-C again to stop immediately."
            )
        done, _ = wait([future for _, future in waiting], _GRACE_S)
        yield from ((item, future) for item, future in waiting if future in done)

    def _due(self, waiting: _Waiting[Item, Result], running: int, held: int) -> Iterator[tuple[Item, Future[Result]]]:
        """Yield finished items from the front, until fewer than `running` run and fewer than `held` are held."""
        while waiting and not self._over:
            if waiting[0][1].done():
                yield waiting.popleft()
                continue
            pending = [future for _, future in waiting if not future.done()]
            if len(pending) < running and len(waiting) < held:
                return
            wait(pending, _POLL_S, FIRST_COMPLETED)


@contextmanager
def running(args: argparse.Namespace, progress: Progress, quiet: bool = False) -> Iterator[Run]:
    """Yield a run with the client that the options describe, and write a summary when it ends.

    Args:
        args: options of `connect`, `concurrency` and, if present, `continue_on_error`.
        progress: counts of the run.
        quiet: whether the summary is written after an interruption only.

    Raises:
        RunEnded: a picture or frame failed and ended the run; raised after the block.
    """
    client = arguments.connect(args)
    run = Run(client, progress, args.concurrency, getattr(args, "continue_on_error", False))
    try:
        with client, gentle_interrupt(run.interrupt):
            yield run
    finally:
        if run.interrupted or (progress.asked and not quiet):
            progress.summary(client.retries)
    if run.failure is not None:
        raise run.failure


@contextmanager
def gentle_interrupt(press: Callable[[], None]) -> Iterator[None]:
    """Within the context, the first Ctrl-C or SIGTERM only calls `press`; the second one has its usual effect."""
    if threading.current_thread() is not threading.main_thread():  # signals arrive in the main thread only
        yield
        return
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def pressed(number: int, frame: FrameType | None) -> None:
        restore()
        press()

    for number in before:
        signal.signal(number, pressed)
    try:
        yield
    finally:
        restore()


def in_thread(function: Callable[..., Result], *arguments: Any) -> Future[Result]:
    """Call `function` in a daemon thread, which does not keep the process from ending, unlike the thread of a pool."""
    future: Future[Result] = Future()

    def call() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call, name=_WORKER, daemon=True).start()
    return future


def end_process(status: int) -> NoReturn:
    """End the process; with threads still at work immediately, as OpenCV may crash when the interpreter shuts down."""
    if any(thread.name == _WORKER for thread in threading.enumerate()):
        flush()
        os._exit(status)
    sys.exit(status)


def flush() -> None:
    """Flush stdout and stderr; Python has None for one that was closed at the start."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()


def reason(error: BaseException) -> str:
    """Return the problem of an error, without its remedy and without the path of an OSError."""
    if isinstance(error, PoseClientError):
        return error.problem
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
