"""Calls of functions that draw from Python's and numpy's global random state, made reproducible, here or in workers."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np

Function = Callable[[np.ndarray, int], np.ndarray]
"""(float32 [time], sample rate) -> float32 [other time]"""

_state = threading.Lock()  # there is one global random state
_function: Function  # of a worker process


def call_seeded(function: Function, samples: np.ndarray, sample_rate: int, seed: int) -> np.ndarray:
    """Call `function` with both global random states set from `seed`, and put them back as they were.

    Parameters
    ----------
    samples : float32 [time]
        Copied first, in case `function` writes to it.
    sample_rate : int
        Hz.
    seed : int in 0 .. 2**64 - 1
    """
    with _state:
        kept, kept_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the function draws from these
        try:
            random.seed(seed)
            np.random.seed([seed & 0xFFFFFFFF, seed >> 32])  # noqa: NPY002
            return np.asarray(function(samples.copy(), sample_rate))
        finally:
            random.setstate(kept)
            np.random.set_state(kept_numpy)  # noqa: NPY002


class SeededWorkers:
    """Spawned processes that make such calls. They start with the first call and end with `close` or the program.

    Parameters
    ----------
    function : callable
        Picklable; each process gets its own copy.
    n_workers : int
        Processes. A process that may have no children (a daemon, such as a data loader's worker) uses none.

    Raises
    ------
    ValueError
        If `function` cannot be pickled.
    """

    def __init__(self, function: Function, n_workers: int) -> None:
        try:
            self._pickled = pickle.dumps(function)
        except Exception as error:
            raise ValueError(
                f"{function!r} cannot be sent to a worker process ({error}); define its functions at a module's top "
                "level, or use workers=0"
            ) from error
        self._n_workers = n_workers
        self._forget()

    def _forget(self) -> None:
        self._executor: ProcessPoolExecutor | None = None
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def call(self, samples: np.ndarray, sample_rate: int, seed: int) -> np.ndarray:
        """`call_seeded` in a worker; threads that call at the same time are served at the same time."""
        try:
            return self._processes().submit(_call, samples, sample_rate, seed).result()
        except BrokenProcessPool as error:
            self.close()
            raise RuntimeError(
                "a worker process of Audiomentations died; if its output above speaks of bootstrapping, put the "
                "program under `if __name__ == '__main__':`, else try workers=0"
            ) from error

    def close(self) -> None:
        """End the processes; a later call starts new ones."""
        with self._lock:
            if self._executor is not None and self._owner == os.getpid():
                self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def _processes(self) -> ProcessPoolExecutor:
        if self._owner != os.getpid():  # in a forked child, the parent's processes are out of reach
            self._forget()
        with self._lock:
            if self._executor is None:
                self._executor = ProcessPoolExecutor(
                    self._n_workers,
                    mp_context=multiprocessing.get_context("spawn"),
                    initializer=_begin,
                    initargs=(self._pickled,),
                )
            return self._executor

    def __getstate__(self) -> dict[str, object]:
        return {"_pickled": self._pickled, "_n_workers": self._n_workers}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._forget()


def may_have_children() -> bool:
    """Whether this process may start others."""
    return not multiprocessing.current_process().daemon


def _begin(pickled: bytes) -> None:
    """Prepare a worker process."""
    global _function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program, which ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _function = pickle.loads(pickled)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call(samples: np.ndarray, sample_rate: int, seed: int) -> np.ndarray:
    return call_seeded(_function, samples, sample_rate, seed)
