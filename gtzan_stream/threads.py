"""Count CPU cores, and make thread pools and locks that still work after a fork.

A forked child has only the thread that called fork. It would wait forever for the other threads of its parent, and for
locks that they held. So pools and locks made here are reset in the child, torch is limited to one thread there, and
numba's compiler lock is held during the fork, so that no other thread holds it.
"""

import concurrent.futures.thread
import logging
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

_log = logging.getLogger(__name__)
_locks: WeakSet[Any] = WeakSet()
_pools: WeakKeyDictionary[ThreadPoolExecutor, tuple[int, str, Callable[[], object] | None]] = WeakKeyDictionary()
_forked = False  # whether this process was forked, and limit_torch_after_fork has not been called since
_held: list[Any] = []  # numba's lock, during a fork


def cores() -> int:
    """Count the CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_pool(n: int, name: str, initializer: Callable[[], object] | None = None) -> ThreadPoolExecutor:
    """Return an executor with at most `n` threads, each started when first needed. A forked child gets new threads."""
    pool = ThreadPoolExecutor(n, name, initializer)
    _pools[pool] = n, name, initializer
    return pool


def program_is_ending() -> bool:
    """Return whether the main program has ended and waits for the threads of pools. They should not take long."""
    return bool(getattr(concurrent.futures.thread, "_shutdown", False))  # Python has no public name for this


def fork_safe_lock() -> AbstractContextManager[bool]:
    """Return a lock that is free in a forked child, even if a thread of the parent held it."""
    lock = threading.Lock()
    _locks.add(lock)
    return lock


def limit_torch_after_fork() -> None:
    """Make torch compute on one thread if this process was forked: it would wait forever for OpenMP's threads."""
    global _forked
    if not _forked:
        return
    import torch

    _forked = False
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)
        _log.warning(
            "this process was forked, and torch's threads do not survive a fork: torch computes on one thread here; "
            "start processes with 'spawn' to use more"
        )


def _acquire_compiler_lock() -> None:
    """Wait until no thread compiles, before a fork; otherwise numba's lock would stay locked in the child."""
    if (numba := sys.modules.get("numba.core.compiler_lock")) is not None:
        numba.global_compiler_lock.acquire()
        _held.append(numba.global_compiler_lock)


def _release_compiler_lock() -> None:
    if _held:
        _held.pop().release()


def _reset_in_child() -> None:
    global _forked
    _forked = True
    _release_compiler_lock()
    for lock in _locks:
        lock._at_fork_reinit()
    for pool, settings in list(_pools.items()):
        ThreadPoolExecutor.__init__(pool, *settings)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_acquire_compiler_lock, after_in_parent=_release_compiler_lock, after_in_child=_reset_in_child
    )
