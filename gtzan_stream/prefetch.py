"""Run an iterator ahead of its consumer, in a thread."""

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")
_POLL_S = 0.1  # how long a full queue hides that the consumer has left


def prefetch(items: Iterator[T], depth: int) -> Iterator[T]:
    """Yield what `items` yields, computed up to `depth` items ahead in a background thread.

    An exception of `items` is raised here, after the items before it. Closing this generator (a ``break`` in its loop
    is enough) stops the thread and waits for it.

    Examples
    --------
    >>> list(prefetch(iter("abc"), depth=2))
    ['a', 'b', 'c']
    """
    ready: queue.Queue[tuple[bool, object]] = queue.Queue(depth)
    stopped = threading.Event()

    def offer(done: bool, item: object) -> None:
        while not stopped.is_set():
            try:
                ready.put((done, item), timeout=_POLL_S)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for item in items:
                offer(False, item)
                if stopped.is_set():
                    return
            offer(True, None)
        except BaseException as error:
            offer(True, error)

    thread = threading.Thread(target=work, name="gtzan-stream-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            done, item = ready.get()
            if not done:
                yield item  # type: ignore[misc]
            elif item is None:
                return
            else:
                raise item  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()
