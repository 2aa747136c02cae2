"""A server's cache of replies: each batch is made once, however many clients ask for it."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any


class ReplyCache:
    """Futures of replies by what was asked, and the replies that were used last, up to a number of bytes.

    Not safe in several threads: `get` and `finish` belong to the server's main thread.

    Parameters
    ----------
    max_bytes : int

    Attributes
    ----------
    n_bytes : int
        Size of the replies that are kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self.n_bytes, self._max_bytes = 0, max_bytes
        self._pending: dict[Hashable, Future[Any]] = {}
        self._replies: OrderedDict[Hashable, tuple[Future[Any], int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, key: Hashable, begin: Callable[[], Future[Any]]) -> Future[Any]:
        """Return the future of the reply to `key`; `begin` starts it if it is neither kept nor being made."""
        if key in self._replies:
            self._replies.move_to_end(key)
            return self._replies[key][0]
        if key not in self._pending:
            self._pending[key] = begin()
        return self._pending[key]

    def finish(self, key: Hashable, n_bytes: int) -> None:
        """Keep the reply to `key`, which has been made and has this size; 0 forgets it, as an error should be."""
        future = self._pending.pop(key)
        if n_bytes:
            self._replies[key] = future, n_bytes
            self.n_bytes += n_bytes
        while self.n_bytes > self._max_bytes:
            _, (_, size) = self._replies.popitem(last=False)
            self.n_bytes -= size
