"""Make items ahead of their consumer, in other threads.

With depth 3, the consumer works on item i while items i + 1 to i + 3 are made or wait for it. With two threads, an
item begins while the one before it is being made::

    thread 1   | 0     | 2     |       | 4     |         ...
    thread 2   | 1     | 3     |           | 5     |     ...
    consumer           |  item 0   |  item 1   |  item 2 ...

Item 4 begins when the consumer takes item 1.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from typing import Any, Protocol, TypeVar, runtime_checkable

T = TypeVar("T")


@runtime_checkable
class Pending(Protocol):
    """A call that was begun, such as a future."""

    def result(self) -> Any:
        """Wait for the call, and return its result."""

    def cancel(self) -> Any:
        """Do not begin the call, if that is possible yet."""


@runtime_checkable
class Submits(Protocol):
    """What begins calls, such as an executor."""

    def submit(self, call: Any, /) -> Pending:
        """Begin a call."""


def prefetch(calls: Iterator[Callable[[], T]], depth: int, executor: Submits | None) -> Generator[T, None, None]:
    """Yield the results of calls in order, computed up to `depth` results ahead.

    An exception of a call is raised here, after the results before it. When this generator is closed (a ``break`` in
    the loop over it is enough), the executor is free for the next caller as soon as the current calls are done. The
    executor outlives the generator, because a process would grow if each epoch had new threads: the allocator keeps
    some memory for each.

    Parameters
    ----------
    calls : iterator of functions
        The iterator is advanced in the consumer's thread, so it should not take long.
    depth : int
        Number of results to compute ahead.
    executor : Executor or other `Submits`, optional
        Without one, each result is computed when it is requested, in the consumer's thread.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> list(prefetch((letter.upper for letter in "abc"), depth=2, executor=ThreadPoolExecutor(2)))
    ['A', 'B', 'C']
    """
    if executor is None:
        yield from (call() for call in calls)
        return
    futures = deque(executor.submit(call) for call in islice(calls, depth))
    try:
        while futures:
            result = futures[0].result()
            futures.popleft()
            futures.extend(executor.submit(call) for call in islice(calls, 1))
            yield result
    finally:
        # Do not wait for the futures: the garbage collector may close this generator in one of the executor's threads.
        for future in futures:
            future.cancel()
