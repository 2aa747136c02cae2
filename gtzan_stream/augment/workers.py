"""Worker processes for seeded calls.

They are separate programs and not `multiprocessing` children, because those import the user's main program again, need
its code to be under ``if __name__ == "__main__":``, and cannot be started by a worker of a data loader.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import weakref
from pathlib import Path
from queue import LifoQueue
from typing import Any

import numpy as np

from gtzan_stream.augment import seeded
from gtzan_stream.augment.seeded import Function

PROGRAM = Path(seeded.__file__)


class Workers:
    """A pool of up to `num_workers` processes, each started when first needed; `close` or the program's end stops them.

    Parameters
    ----------
    function : callable
        Picklable; each process gets its own copy.
    num_workers : int
        At least 1.

    Raises
    ------
    ValueError
        If `function` cannot be pickled.
    """

    def __init__(self, function: Function, num_workers: int) -> None:
        try:
            self._pickled = pickle.dumps(function)
        except Exception as error:
            raise ValueError(
                f"{function!r} cannot be sent to a worker process ({error}); define its functions at a module's top "
                "level, or use num_workers=0"
            ) from error
        self._num_workers = num_workers
        self._begin()

    def _begin(self) -> None:
        self._owner = os.getpid()
        self._started: list[subprocess.Popen[bytes]] = []
        # Last in, first out, so that few processes are started. None stands for one that is not started yet.
        self._idle: LifoQueue[subprocess.Popen[bytes] | None] = LifoQueue()
        for _ in range(self._num_workers):
            self._idle.put(None)
        self._end = weakref.finalize(self, _end, self._started, self._owner)

    def call(self, samples: np.ndarray, sample_rate: int, seed: int) -> np.ndarray:
        """Do `seeded.call_seeded` in a worker process. Calls from several threads run at the same time.

        Raises
        ------
        ValueError
            If the function raised an error; with the same message.
        RuntimeError
            If the process died or could not load the function.
        """
        if self._owner != os.getpid():  # After a fork, the processes belong to the parent.
            self._end.detach()
            self._begin()
        idle = self._idle  # Local: close() in another thread replaces the queue.
        process = idle.get()
        healthy = None
        try:
            if process is None:
                process = self._start()
            kind, answer = _ask(process, (samples, sample_rate, seed))
            healthy = process
        finally:
            idle.put(healthy)
        if kind == "failed":
            raise ValueError(answer)
        if kind == "unloaded":
            raise RuntimeError(
                f"a worker process could not load the transform ({answer}); define its functions in a module that "
                "can be imported, not in the program itself, or use num_workers=0"
            )
        return answer

    def close(self) -> None:
        """End the processes; a later call starts new ones."""
        if self._owner == os.getpid():
            self._end()
        self._begin()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-P", str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._started.append(process)
        assert process.stdin is not None
        pickle.dump(sys.path, process.stdin)
        pickle.dump(self._pickled, process.stdin)
        return process

    def __getstate__(self) -> dict[str, object]:
        return {"_pickled": self._pickled, "_num_workers": self._num_workers}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._begin()


def _ask(process: subprocess.Popen[bytes], call: tuple[np.ndarray, int, int]) -> tuple[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        pickle.dump(call, process.stdin, protocol=5)
        process.stdin.flush()
        return pickle.load(process.stdout)
    except (OSError, EOFError, pickle.UnpicklingError) as error:
        process.kill()
        raise RuntimeError(
            f"a worker process of Audiomentations died (exit status {process.wait()}); its output, if any, is "
            "above; to see more, use num_workers=0"
        ) from error


def _end(processes: list[subprocess.Popen[bytes]], owner: int) -> None:
    if owner != os.getpid():
        return
    for process in processes:
        process.kill()
    for process in processes:
        process.communicate()
    processes.clear()
