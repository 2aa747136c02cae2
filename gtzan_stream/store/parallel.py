"""Map a function over items in threads, in order.

Threads suffice because soundfile, soxr, hashing and reading release the GIL.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from gtzan_stream.threads import cores

_T = TypeVar("_T")
_R = TypeVar("_R")


def map_in_order(function: Callable[[_T], _R], items: Iterable[_T], num_workers: int | None) -> Iterator[_R]:
    """Map `function` over `items` in threads and yield the results in order.

    At most about two items per thread are ahead of the consumer, so that the results take little memory.
    """
    num_workers = num_workers or cores()
    pending: deque[Future[_R]] = deque()
    with ThreadPoolExecutor(num_workers) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > 2 * num_workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
