"""Many calls at once, answers in order, memory bounded; for threads and for asyncio."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from cigpose_client._errors import PICTURE_FAILURES

Item = TypeVar("Item")
Result = TypeVar("Result")

_WINDOW = 2  # times in_flight: so many may wait, finished, behind a slow one before a worker idles


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], in_flight: int
) -> Iterator[tuple[Item, Result]]:
    """Yield (item, function(item)) in the order of `items`, with `in_flight` calls running at a time.

    `items` is read in the caller's thread, never more than `2 * in_flight` ahead of what was yielded. When the caller
    stops, what is running is finished and the rest dropped.

    Raises:
        ValueError: `in_flight` is below 1.
        Exception: whatever `function` raised, in the place of its item.
    """
    _check(in_flight)
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(in_flight, thread_name_prefix="cigpose-client")
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            while len(waiting) >= _WINDOW * in_flight or (waiting and waiting[0][1].done()):
                yield _finished(waiting)
        while waiting:
            yield _finished(waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def attempting(function: Callable[[Item], Result], go_on: bool = True) -> Callable[[Item], Result | Exception]:
    """Return `function`, made to return the failure of a picture instead of raising it, when `go_on`."""

    def attempt(item: Item) -> Result | Exception:
        try:
            return function(item)
        except PICTURE_FAILURES as error:
            if not go_on:
                raise
            return error

    return attempt


async def in_order_async(
    function: Callable[[Item], Awaitable[Result]], items: Iterable[Item] | AsyncIterable[Item], in_flight: int
) -> AsyncGenerator[tuple[Item, Result], None]:
    """Do as `in_order` does, with tasks. When the caller stops, what is running is cancelled."""
    _check(in_flight)
    gate = asyncio.Semaphore(in_flight)

    async def guarded(item: Item) -> Result:
        async with gate:
            return await function(item)

    waiting: deque[tuple[Item, asyncio.Task[Result]]] = deque()
    try:
        async for item in _each(items):
            waiting.append((item, asyncio.create_task(guarded(item))))
            while len(waiting) >= _WINDOW * in_flight or (waiting and waiting[0][1].done()):
                yield await _awaited(waiting)
        while waiting:
            yield await _awaited(waiting)
    finally:
        for _, task in waiting:
            task.cancel()
        await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)


def _check(in_flight: int) -> None:
    if in_flight < 1:
        raise ValueError(f"in_flight must be at least 1, not {in_flight}")


def _finished(waiting: deque[tuple[Item, Future[Result]]]) -> tuple[Item, Result]:
    item, future = waiting.popleft()
    return item, future.result()


async def _awaited(waiting: deque[tuple[Item, asyncio.Task[Result]]]) -> tuple[Item, Result]:
    result = await waiting[0][1]  # it stays in the queue meanwhile, so that it is cancelled when we are
    return waiting.popleft()[0], result


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
