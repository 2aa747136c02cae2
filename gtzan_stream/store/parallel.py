"""Threads over a list, in the list's order: soundfile, soxr, hashing and reading all run outside the GIL."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from gtzan_stream.threads import cores

_T = TypeVar("_T")
_R = TypeVar("_R")


def map_in_order(function: Callable[[_T], _R], items: Iterable[_T], num_workers: int | None) -> Iterator[_R]:
    """Map `function` over `items` in threads: results come in the items' order, few of them ahead of need."""
    num_workers = num_workers or cores()
    waiting: deque[Future[_R]] = deque()
    with ThreadPoolExecutor(num_workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * num_workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
