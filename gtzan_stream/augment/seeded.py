"""Reproducible calls of functions that draw from the global random state of Python and numpy.

This file is also the program that `worker_process.WorkerProcess` runs, so it must be quick to import.
"""

from __future__ import annotations

import os
import pickle
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from io import FileIO
from typing import Any

import numpy as np

Function = Callable[[np.ndarray, int], np.ndarray]
"""(float32 [time], sample rate) -> float32 [new time]"""

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

    Returns
    -------
    float32 [new time]

    Raises
    ------
    ValueError
        If `function` raises an error, or returns anything but finite mono samples; the message is one line.
    """
    with _lock:
        state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - the function draws from these
        try:
            random.seed(seed)
            np.random.seed([seed & 0xFFFFFFFF, seed >> 32])  # noqa: NPY002
            result = np.asarray(function(samples.copy(), sample_rate))
        except Exception as error:
            raise ValueError(describe(error)) from error
        finally:
            random.setstate(state)
            np.random.set_state(numpy_state)  # noqa: NPY002
    if result.ndim != 1 or not np.issubdtype(result.dtype, np.floating):
        raise ValueError(f"expected mono float samples [time], got {result.dtype} of shape {result.shape}")
    with np.errstate(over="ignore"):  # a float64 may become infinity, which is an error below
        result = result.astype(np.float32, copy=False)
    finite = np.isfinite(result)
    if not finite.all():
        index = int(np.argmin(finite))
        raise ValueError(f"expected finite samples, got {result[index]} at sample {index} of {len(result)}")
    return result


def describe(error: Exception) -> str:
    """Return the type of an error and the first line of its message."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


def send(pipe: FileIO, value: object) -> None:
    """Write a pickled value to an unbuffered pipe, after its length in 8 bytes."""
    data = pickle.dumps(value, protocol=5)
    rest = memoryview(len(data).to_bytes(8, "little") + data)
    while rest:
        rest = rest[pipe.write(rest) :]


def receive(pipe: FileIO) -> Any:
    """Read what `send` wrote.

    Raises
    ------
    EOFError
        If the pipe was closed.
    """
    return pickle.loads(_read(pipe, int.from_bytes(_read(pipe, 8), "little")))


def _read(pipe: FileIO, n_bytes: int) -> bytearray:
    data = bytearray(n_bytes)
    rest = memoryview(data)
    while rest:
        n_read = pipe.readinto(rest)
        if not n_read:
            raise EOFError("the pipe was closed")
        rest = rest[n_read:]
    return data


def serve() -> None:
    """Run a worker process: read calls from stdin and write results to stdout, until the main program ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # may be sent to all processes; the main program ends its workers
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    # The function, and programs that it runs, must neither read calls nor write among the results.
    calls, results = FileIO(os.dup(0), "rb"), FileIO(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):  # lines must not be lost if the process dies
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    sys.path[:], pickled = receive(calls)
    load_error = ""
    try:
        function: Function = pickle.loads(pickled)
    except Exception as error:
        load_error = describe(error)
    while True:
        try:
            samples, sample_rate, seed = receive(calls)
        except EOFError:
            return
        try:
            answer: tuple[str, Any] = ("unloaded", load_error)
            if not load_error:
                answer = ("done", call_seeded(function, samples, sample_rate, seed))
        except ValueError as error:
            answer = ("failed", str(error))
        send(results, answer)


def _exit_with_parent() -> None:
    """End this process when its parent has died, even if stdin stays open in a forked child, or during a call."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


if __name__ == "__main__":
    serve()
