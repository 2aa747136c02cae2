"""A pool of worker processes for seeded calls.

They are separate programs and not `multiprocessing` children, because those import the user's main program again, need
its code to be under ``if __name__ == "__main__":``, and cannot be started by a worker of a data loader.
"""

from __future__ import annotations

import atexit
import os
import pickle
import threading
import weakref
from queue import LifoQueue

import numpy as np

from gtzan_stream.augment.seeded import Function
from gtzan_stream.augment.worker_process import WorkerEndedError, WorkerProcess
from gtzan_stream.errors import UserError
from gtzan_stream.threads import fork_safe_lock

MAX_UNANSWERED = 10
"""Examples in a row without an answer, after which the workers count as broken."""
MAX_UNANSWERED_AT_FIRST = 3
"""The same, before the first answer."""

_all: weakref.WeakSet[Workers] = weakref.WeakSet()


class Workers:
    """A pool of up to `num_workers` processes, each started when first needed; `close` or the program's end stops them.

    Parameters
    ----------
    function : callable
        Picklable; each process gets its own copy.
    num_workers : int
        At least 1.
    timeout_s : float
        How long a call may take. The first call of a process gets `worker_process.FIRST_CALL_S` more.

    Raises
    ------
    ValueError
        If `function` cannot be pickled.
    """

    def __init__(self, function: Function, num_workers: int, timeout_s: float) -> None:
        try:
            self._pickled = pickle.dumps(function)
        except Exception as error:
            raise ValueError(
                f"{function!r} cannot be sent to a worker process ({error}); define its functions at a module's top "
                "level, or use num_workers=0"
            ) from error
        self._num_workers, self._timeout_s = num_workers, timeout_s
        self._begin()

    def _begin(self) -> None:
        self._closed = False
        self._started: list[WorkerProcess] = []
        # Last in, first out, so that few processes are started. None stands for one that is not started yet.
        self._idle: LifoQueue[WorkerProcess | None] = LifoQueue()
        for _ in range(self._num_workers):
            self._idle.put(None)
        self._has_answered = False
        self._unanswered: set[int] = set()  # seeds since the last answer; an example tried again counts once
        self._lock = fork_safe_lock()
        self._end = weakref.finalize(self, _end, self._started)
        _all.add(self)

    def call(self, samples: np.ndarray, sample_rate: int, seed: int) -> np.ndarray:
        """Do `seeded.call_seeded` in a worker process. Calls from several threads run at the same time.

        Raises
        ------
        ValueError
            If the function raised an error or returned no finite mono samples; or if its process ended, or took too
            long and was killed. The next call starts a new process.
        UserError
            If a process cannot be started or cannot load the function, if too many calls in a row ended their
            process (`MAX_UNANSWERED`), or after `close`.
        """
        worker = self._idle.get()
        try:
            if worker is not None and worker.has_ended():  # while it was idle, so not because of this call
                self._discard(worker)
                worker = None
            if worker is None:
                worker = self._start()
            kind, answer = worker.call((samples, sample_rate, seed), self._timeout_s)
        except BaseException as error:
            if worker is not None:
                self._discard(worker)  # after Ctrl-C too: the next call must not get this call's answer
                worker = None
            if isinstance(error, WorkerEndedError):
                raise self._error_without_answer(seed, error) from error
            raise
        finally:
            self._idle.put(worker)
        self._has_answered = True
        self._unanswered.clear()
        if kind == "failed":
            raise ValueError(answer)
        if kind == "unloaded":
            raise UserError(
                f"a worker process could not load the transform ({answer}); define its functions in a module that "
                "can be imported, not in the program itself, or use num_workers=0"
            )
        result: np.ndarray = answer
        return result

    def close(self) -> None:
        """End the processes, also those that are computing. Later calls are errors."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        for worker in list(self._started):
            worker.kill()
        for _ in range(self._num_workers):  # wait for the calls that have just lost their processes
            idle = self._idle.get()
            if idle is not None:
                self._discard(idle)
        for _ in range(self._num_workers):
            self._idle.put(None)

    def _start(self) -> WorkerProcess:
        with self._lock:  # so that close() misses no process
            self._check_open()
            try:
                worker = WorkerProcess(self._pickled)
            except OSError as error:
                raise UserError(f"a worker process cannot be started ({error}): use num_workers=0") from error
            self._started.append(worker)
            return worker

    def _discard(self, worker: WorkerProcess) -> None:
        worker.end()
        self._started.remove(worker)

    def _check_open(self) -> None:
        if self._closed:
            raise UserError("this Audiomentations is closed: make another one")

    def _error_without_answer(self, seed: int, error: WorkerEndedError) -> ValueError:
        """Return the error of a call without an answer: about its row, unless all calls end like that."""
        self._check_open()
        self._unanswered.add(seed)
        if len(self._unanswered) < (MAX_UNANSWERED if self._has_answered else MAX_UNANSWERED_AT_FIRST):
            return ValueError(str(error))
        return UserError(
            f"{len(self._unanswered)} calls of the transform in a row got no answer; the last time, {error}; call the "
            "transform without Audiomentations to find the reason, or use num_workers=0"
        )

    def __getstate__(self) -> dict[str, object]:
        return {name: self.__dict__[name] for name in ("_pickled", "_num_workers", "_timeout_s")}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._begin()


def _end(workers: list[WorkerProcess]) -> None:
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.end()
    workers.clear()


def _forget_processes() -> None:
    """Begin with new processes after a fork, as the others belong to the parent."""
    for workers in list(_all):
        workers._end.detach()
        for worker in workers._started:
            worker.popen.returncode = 0  # else Popen would wait for a process that is not its child
        closed = workers._closed
        workers._begin()
        workers._closed = closed


def _close_all() -> None:
    for workers in list(_all):
        workers.close()


# Python waits for the threads of pools before it runs `atexit` functions; one of them may be in a call that hangs.
getattr(threading, "_register_atexit", atexit.register)(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_processes)
