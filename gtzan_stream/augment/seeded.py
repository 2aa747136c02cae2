"""Reproducible calls of functions that draw from the global random state of Python and numpy.

This file is also the program that `workers.Workers` runs in its processes, so it must be quick to import.
"""

from __future__ import annotations

import os
import pickle
import random
import signal
import sys
import threading
from collections.abc import Callable

import numpy as np

Function = Callable[[np.ndarray, int], np.ndarray]
"""(float32 [time], sample rate) -> float32 [other time]"""

_lock = threading.Lock()  # the global random state is shared by all threads
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_lock._at_fork_reinit)  # type: ignore[attr-defined]


def call_seeded(function: Function, samples: np.ndarray, sample_rate: int, seed: int) -> np.ndarray:
    """Call `function` with both global random states seeded, and restore them afterwards.

    Parameters
    ----------
    samples : float32 [time]
        Copied, in case `function` modifies it.
    sample_rate : int
        Hz.
    seed : int in 0 .. 2**64 - 1
    """
    with _lock:
        state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - the function draws from these
        try:
            random.seed(seed)
            np.random.seed([seed & 0xFFFFFFFF, seed >> 32])  # noqa: NPY002
            return np.asarray(function(samples.copy(), sample_rate))
        finally:
            random.setstate(state)
            np.random.set_state(numpy_state)  # noqa: NPY002


def serve() -> None:
    """Run a worker process: read calls from stdin and write results to stdout until stdin is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the main program, which ends its workers
    calls, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a function prints goes to stderr, not among the results
    sys.path[:] = pickle.load(calls)
    pickled, load_error = pickle.load(calls), ""
    try:
        function: Function = pickle.loads(pickled)
    except Exception as error:
        load_error = f"{type(error).__name__}: {error}"
    while True:
        try:
            samples, sample_rate, seed = pickle.load(calls)
        except EOFError:
            return
        try:
            answer = (
                ("unloaded", load_error) if load_error else ("done", call_seeded(function, samples, sample_rate, seed))
            )
        except Exception as error:
            answer = ("failed", str(error) or type(error).__name__)
        pickle.dump(answer, results, protocol=5)
        results.flush()


if __name__ == "__main__":
    serve()
