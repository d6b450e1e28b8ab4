"""One run: many requests under way, results in order, and an early end that loses nothing which has arrived."""

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
from typing import Any, NoReturn, TypeVar

from cigpose_client._cli import arguments
from cigpose_client._cli.progress import Progress
from cigpose_client._client import PoseClient
from cigpose_client._errors import PICTURE_FAILURES, PoseClientError

Item = TypeVar("Item")
Result = TypeVar("Result")

INTERRUPTED = 130
_GRACE_S = 1.5  # after the end was asked for, for what is under way
_POLL_S = 0.1
_WORKER = "cigpose-client"
_WINDOW = 2  # times in_flight: so many may wait, finished, behind a slow one


class RunEnded(Exception):
    """What ended a run, by its name; the error is the `__cause__`."""


class Run:
    """Asks for one item after the other until the end, Ctrl-C or a failure.

    Args:
        client: what is asked.
        progress: failures are counted there; answers are counted by the caller, once they are written.
        in_flight: requests under way at a time.
        go_on: whether the run goes on after a failure.

    Attributes:
        interrupted: whether Ctrl-C was pressed, or SIGTERM received.
    """

    def __init__(self, client: PoseClient, progress: Progress, in_flight: int, go_on: bool):
        self.client = client
        self.progress = progress
        self.interrupted = False
        self._in_flight = in_flight
        self._go_on = go_on
        self._failure: tuple[str, BaseException] | None = None

    @property
    def status(self) -> int:
        """The exit status."""
        return INTERRUPTED if self.interrupted else int(self.progress.failed > 0)

    def interrupt(self) -> None:
        """Ask for an early end; safe in a signal handler."""
        self.interrupted = True

    def answers(
        self, work: Callable[[Item], Result], items: Iterable[Item | None], name: Callable[[Item], str]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """Yield (item, work(item)) in the order of `items`; failures only when the run goes on after them.

        At an early end what arrives within 1.5 s is yielded as well, without gaps being waited for, and the rest is
        cancelled.

        Args:
            work: what to do with an item, in a thread of its own.
            items: read in the caller's thread; None where there is no next item yet.
            name: how messages call an item.
        """
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        for item in items:
            if item is not None and not self._over:
                self.progress.asked += 1
                waiting.append((item, in_thread(work, item)))
            for item, future in self._due(waiting, self._in_flight, _WINDOW * self._in_flight):
                yield from self._outcome(item, future, name)
            if self._over:
                break
        for item, future in self._due(waiting, 1, 1):
            yield from self._outcome(item, future, name)
        for item, future in self._late(waiting):
            yield from self._outcome(item, future, name)

    @property
    def _over(self) -> bool:
        return self.interrupted or self._failure is not None

    def _due(
        self, waiting: deque[tuple[Item, Future[Result]]], running: int, held: int
    ) -> Iterator[tuple[Item, Future[Result]]]:
        """Yield what is finished and next, until fewer than `running` run and fewer than `held` are held."""
        while waiting and not self._over:
            if waiting[0][1].done():
                yield waiting.popleft()
                continue
            pending = [future for _, future in waiting if not future.done()]
            if len(pending) < running and len(waiting) < held:
                return
            wait(pending, _POLL_S, FIRST_COMPLETED)

    def _late(self, waiting: deque[tuple[Item, Future[Result]]]) -> list[tuple[Item, Future[Result]]]:
        """Return what finishes within the grace; the rest is cancelled when the client is closed."""
        futures = [future for _, future in waiting]
        if self.interrupted and futures:
            self.progress.note("Ending: what is under way is awaited for 1.5 s. Press Ctrl-C again to end at once.")
        finished, _ = wait(futures, _GRACE_S)
        return [(item, future) for item, future in waiting if future in finished]

    def _outcome(
        self, item: Item, future: Future[Result], name: Callable[[Item], str]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        error = future.exception()
        if error is None:
            yield item, future.result()
        elif self._go_on and isinstance(error, PICTURE_FAILURES):
            self.progress.failure(f"{name(item)}: {reason(error)}")
            yield item, error
        elif self._over:
            self.progress.failure(f"{name(item)}: {reason(error)}")
        else:
            self._failure = name(item), error
            self.progress.failure(None)  # the text ends the run, after the summary

    def raise_failure(self) -> None:
        """Raise the failure that ended the run, if one did: RunEnded, or the error itself where it is a fault here."""
        if self._failure is not None:
            name, error = self._failure
            if not isinstance(error, PICTURE_FAILURES):
                raise error
            raise RunEnded(name) from error


@contextmanager
def running(args: argparse.Namespace, progress: Progress, quiet: bool = False) -> Iterator[Run]:
    """Yield a run with the client that the arguments describe; however it ends, a summary is written.

    Args:
        args: `connect` reads it; `concurrency` and, where there is one, `continue_on_error` are used as well.
        progress: counts the run.
        quiet: leave the summary out, unless the run was interrupted.

    Raises:
        RunEnded: an item failed and the run does not go on after failures; raised when the block has ended.
    """
    client = arguments.connect(args)
    run = Run(client, progress, args.concurrency, getattr(args, "continue_on_error", False))
    try:
        with client, gentle_interrupt(run.interrupt):
            yield run
    finally:
        if run.interrupted or (progress.asked and not quiet):
            progress.summary(client.retries)
    run.raise_failure()


@contextmanager
def gentle_interrupt(press: Callable[[], None]) -> Iterator[None]:
    """Within the context, the first Ctrl-C or SIGTERM only calls `press`; the second one acts as usual."""
    if threading.current_thread() is not threading.main_thread():  # only that one receives signals
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


def in_thread(function: Callable[..., Result], *arguments: Any) -> "Future[Result]":
    """Call `function` in a daemon thread: unlike a pool's, one that hangs does not keep the process from ending."""
    future: Future[Result] = Future()

    def call() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call, name=_WORKER, daemon=True).start()
    return future


def end_process(status: int) -> NoReturn:
    """End the process, under threads that still work: the interpreter may crash when it ends under those in OpenCV."""
    if any(thread.name == _WORKER for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def reason(error: BaseException) -> str:
    """Return what went wrong, without the remedy, and without the path where the caller names it."""
    if isinstance(error, PoseClientError):
        return error.problem
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
