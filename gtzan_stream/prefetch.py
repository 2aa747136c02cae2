"""Run an iterator ahead of its consumer, in a thread."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()


def prefetch(items: Iterator[T], depth: int, thread: ThreadPoolExecutor) -> Iterator[T]:
    """Yield what `items` yields, computed up to `depth` items ahead in `thread`, an executor of one thread.

    An exception of `items` is raised here, after the items before it. Closing this generator (a ``break`` in its loop
    is enough) waits for the item that is being computed and leaves the thread idle, for the next caller: memory that
    was allocated in a thread stays with it, so a new thread for every epoch would make a process grow.

    Examples
    --------
    >>> list(prefetch(iter("abc"), depth=2, thread=ThreadPoolExecutor(1)))
    ['a', 'b', 'c']
    """

    def compute() -> Future[Any]:
        return thread.submit(next, items, _END)

    ahead = deque(compute() for _ in range(depth))
    try:
        while (item := ahead[0].result()) is not _END:
            ahead.popleft()
            ahead.append(compute())
            yield item
    finally:
        for future in ahead:
            future.cancel()
        wait(ahead)
