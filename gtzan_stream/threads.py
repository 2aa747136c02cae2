"""CPU cores, and pools of threads that survive the fork of a process."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any
from weakref import WeakKeyDictionary, WeakSet


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_locks: WeakSet[Any] = WeakSet()
_pools: WeakKeyDictionary[ThreadPoolExecutor, tuple[int, str, Callable[[], object] | None]] = WeakKeyDictionary()


def threads(n: int, name: str, initializer: Callable[[], object] | None = None) -> ThreadPoolExecutor:
    """An executor of at most `n` threads, each started when it is first needed.

    A forked child has none of its parent's threads and would wait for them forever, so the executor is reset there.
    """
    pool = ThreadPoolExecutor(n, name, initializer)
    _pools[pool] = n, name, initializer
    return pool


def fork_safe_lock() -> AbstractContextManager[bool]:
    """A lock that is released in a forked child, though another thread of the parent held it when it forked."""
    lock = threading.Lock()
    _locks.add(lock)
    return lock


def _reset() -> None:
    for lock in _locks:
        lock._at_fork_reinit()
    for pool, settings in list(_pools.items()):
        ThreadPoolExecutor.__init__(pool, *settings)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset)
