"""Many calls at once, answers in order, memory bounded."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 2  # as many again may wait finished behind a slow one, so that no worker idles


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
    if in_flight < 1:
        raise ValueError(f"in_flight must be at least 1, not {in_flight}")
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(in_flight, thread_name_prefix="cigpose-client")
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            while len(waiting) >= _AHEAD * in_flight or (waiting and waiting[0][1].done()):
                yield _finished(waiting)
        while waiting:
            yield _finished(waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(waiting: deque[tuple[Item, Future[Result]]]) -> tuple[Item, Result]:
    item, future = waiting.popleft()
    return item, future.result()
