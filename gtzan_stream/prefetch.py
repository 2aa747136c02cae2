"""Run an iterator ahead of its consumer in another thread.

With depth 3, the consumer works on item i while items i + 1 to i + 3 are computed or wait in a queue::

    thread     | 0 | 1 | 2 | 3 |    | 4 |      | 5 |      | ...
    consumer       |  item 0   |      item 1   |  item 2  | ...

Item 4 begins when the consumer takes item 1. There is one thread, because a generator cannot run in two at once.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()


def prefetch(items: Iterator[T], depth: int, executor: Executor) -> Iterator[T]:
    """Yield the items of an iterator, computed up to `depth` items ahead.

    An exception of `items` is raised here, after the items before it. When this generator is closed (a ``break`` in the
    loop over it is enough), the executor is free for the next caller as soon as the current item is done. The executor
    outlives the generator, because a process would grow if each epoch had a new thread: the allocator keeps some
    memory for each.

    Parameters
    ----------
    items : iterator
    depth : int
        Number of items to compute ahead.
    executor : Executor
        Must have exactly one thread.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> list(prefetch(iter("abc"), depth=2, executor=ThreadPoolExecutor(1)))
    ['a', 'b', 'c']
    """

    def compute() -> Future[Any]:
        return executor.submit(next, items, _END)

    futures = deque(compute() for _ in range(depth))
    try:
        while (item := futures[0].result()) is not _END:
            futures.popleft()
            futures.append(compute())
            yield item
    finally:
        # Do not wait for the futures: the garbage collector may close this generator in the executor's own thread.
        for future in futures:
            future.cancel()
