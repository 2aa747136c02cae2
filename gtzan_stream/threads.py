"""Threads that outlive the work they are given, and the fork of a process."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

_pools: WeakKeyDictionary[ThreadPoolExecutor, tuple[int, str, Callable[[], object] | None]] = WeakKeyDictionary()


def threads(n: int, name: str, initializer: Callable[[], object] | None = None) -> ThreadPoolExecutor:
    """An executor of at most `n` threads, which are started when they are needed.

    A forked child has none of its parent's threads, and would wait for them for ever: there, the executor begins anew.
    """
    pool = ThreadPoolExecutor(n, name, initializer)
    _pools[pool] = n, name, initializer
    return pool


def _begin_anew() -> None:
    for pool, settings in list(_pools.items()):
        ThreadPoolExecutor.__init__(pool, *settings)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
