"""CPU cores, and pools of threads that survive the fork of a process."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any
from weakref import WeakKeyDictionary, WeakSet


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_log = logging.getLogger(__name__)
_locks: WeakSet[Any] = WeakSet()
_pools: WeakKeyDictionary[ThreadPoolExecutor, tuple[int, str, Callable[[], object] | None]] = WeakKeyDictionary()


def thread_pool(n: int, name: str, initializer: Callable[[], object] | None = None) -> ThreadPoolExecutor:
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


def limit_torch_after_fork() -> None:
    """In a forked process, make torch compute on one thread, once.

    Its threads are OpenMP's: a forked child has none of them, and torch would wait for them forever.
    """
    global _forked
    if not _forked:
        return
    import torch

    _forked = False
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)
        _log.warning(
            "this process was forked, and torch's threads do not survive that: torch computes on one thread here; "
            "start processes with 'spawn' to use more"
        )


_forked = False
_held: list[Any] = []


def _acquire_compiler() -> None:
    """Fork when no thread compiles: numba's lock would stay locked in the child."""
    if (numba := sys.modules.get("numba.core.compiler_lock")) is not None:
        numba.global_compiler_lock.acquire()
        _held.append(numba.global_compiler_lock)


def _release_compiler() -> None:
    if _held:
        _held.pop().release()


def _reset() -> None:
    global _forked
    _forked = True
    _release_compiler()
    for lock in _locks:
        lock._at_fork_reinit()
    for pool, settings in list(_pools.items()):
        ThreadPoolExecutor.__init__(pool, *settings)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_acquire_compiler, after_in_parent=_release_compiler, after_in_child=_reset)
