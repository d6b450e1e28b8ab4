"""Concurrent calls with results in order and bounded memory, for threads and for asyncio."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_WINDOW = 2  # times in_flight: calls, finished or not, that may be held behind a slow one


def in_order(function: Callable[[Item], Result], items: Iterable[Item], in_flight: int) -> Iterator[Result]:
    """Yield `function(item)` for each of `items`, in order, with `in_flight` concurrent calls.

    `items` is read in the caller's thread, at most `2 * in_flight` ahead of the results. When the caller stops,
    running calls are finished and queued ones dropped.

    Raises:
        ValueError: `in_flight` is below 1.
        Exception: raised by `function`, in the place of its item.
    """
    _check(in_flight)
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(in_flight, thread_name_prefix="cigpose-client")
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            while len(waiting) >= _WINDOW * in_flight or (waiting and waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


async def in_order_async(
    function: Callable[[Item], Awaitable[Result]], items: Iterable[Item] | AsyncIterable[Item], in_flight: int
) -> AsyncGenerator[Result, None]:
    """Yield as `in_order` does, with tasks. When the caller stops, running calls are cancelled."""
    _check(in_flight)
    gate = asyncio.Semaphore(in_flight)

    async def guarded(item: Item) -> Result:
        async with gate:
            return await function(item)

    waiting: deque[asyncio.Task[Result]] = deque()
    try:
        async for item in _each(items):
            waiting.append(asyncio.create_task(guarded(item)))
            while len(waiting) >= _WINDOW * in_flight or (waiting and waiting[0].done()):
                yield await _first(waiting)
        while waiting:
            yield await _first(waiting)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _check(in_flight: int) -> None:
    if in_flight < 1:
        raise ValueError(f"in_flight must be at least 1, not {in_flight}")


async def _first(waiting: deque[asyncio.Task[Result]]) -> Result:
    result = await waiting[0]  # removed afterwards, so that it is cancelled if this await is
    waiting.popleft()
    return result


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
