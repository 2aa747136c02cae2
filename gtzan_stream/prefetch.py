"""Run an iterator ahead of its consumer, in a thread."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()


def prefetch(items: Iterator[T], depth: int, executor: Executor) -> Iterator[T]:
    """Yield what `items` yields, computed up to `depth` items ahead by `executor`, which has one thread.

    An exception of `items` is raised here, after the items before it. Closing this generator (a ``break`` in its loop
    is enough) leaves the thread to the next caller once the item that is being computed is done. Memory that was
    allocated in a thread stays with it: a new thread for every epoch would make a process grow.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> list(prefetch(iter("abc"), depth=2, executor=ThreadPoolExecutor(1)))
    ['a', 'b', 'c']
    """

    def compute() -> Future[Any]:
        return executor.submit(next, items, _END)

    ahead = deque(compute() for _ in range(depth))
    try:
        while (item := ahead[0].result()) is not _END:
            ahead.popleft()
            ahead.append(compute())
            yield item
    finally:
        for future in ahead:  # none is waited for: this may be the thread that computes them, collecting garbage
            future.cancel()
