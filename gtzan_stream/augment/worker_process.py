"""One worker process for seeded calls: start it, call it with a time limit, describe how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any, cast

import numpy as np

from gtzan_stream.augment import seeded

PROGRAM = Path(seeded.__file__)
FIRST_CALL_S = 60.0
"""Time that the first call of a process gets in addition, because the process imports libraries in it."""


class WorkerEndedError(Exception):
    """The process ended, or was killed after the time limit, before it answered. The message says how."""


class WorkerProcess:
    """A process that answers calls of a function, one at a time. Its output is forwarded to `sys.stderr`.

    Parameters
    ----------
    pickled : bytes
        The pickled function.
    """

    def __init__(self, pickled: bytes) -> None:
        self._to_load: tuple[list[str], bytes] | None = (list(sys.path), pickled)
        self._timed_out_s: float | None = None
        # In its own session (on Windows, process group), so that Ctrl-C in a terminal reaches only the main program.
        # Pipes are not buffered: a forked child would inherit a buffer, and could write its bytes a second time or wait
        # forever for its lock. With -P, modules beside the program do not hide others.
        self.popen = subprocess.Popen(
            [sys.executable, "-P", str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self._calls, self._results = cast(FileIO, self.popen.stdin), cast(FileIO, self.popen.stdout)
        self._last_line: deque[str] = deque(maxlen=1)
        self._forwarder = _thread("output", _forward, self.popen.stderr, self._last_line)

    def call(self, arguments: tuple[np.ndarray, int, int], timeout_s: float) -> tuple[str, Any]:
        """Send the arguments of `seeded.call_seeded` (without the function), and wait for the answer.

        Returns
        -------
        str, Any
            "done" and the result; "failed" and the error message of the function; or "unloaded" and why the function
            could not be loaded.

        Raises
        ------
        WorkerEndedError
            If there is no answer. The process cannot be used any more.
        """
        limit_s = timeout_s + (0 if self._to_load is None else FIRST_CALL_S)
        answered = threading.Event()
        watch = _thread("deadline", self._kill_after, limit_s, answered)
        try:
            if self._to_load is not None:
                seeded.send(self._calls, self._to_load)
            seeded.send(self._calls, arguments)
            answer: tuple[str, Any] = seeded.receive(self._results)
        except (OSError, EOFError) as error:
            raise WorkerEndedError(self._how_it_ended()) from error
        finally:
            answered.set()
            watch.join()
        if self._timed_out_s is not None:  # the answer came while the process was being killed
            raise WorkerEndedError(self._how_it_ended())
        self._to_load = None
        return answer

    def has_ended(self) -> bool:
        """Return whether the process has ended by itself or was killed."""
        return self.popen.poll() is not None

    def kill(self) -> None:
        """Kill the process and, where the system has process groups, the processes that it started."""
        if self.popen.returncode is None:  # else its number may belong to another process
            with suppress(OSError, AttributeError):
                os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.kill()

    def end(self) -> None:
        """Kill the process, wait for its end, and close the pipes. No call may be waiting for an answer."""
        self.kill()
        self.popen.wait()
        self._calls.close()
        self._results.close()
        self._forwarder.join(1)  # not longer, as a process that it started may still have the pipe

    def _kill_after(self, limit_s: float, answered: threading.Event) -> None:
        """Kill the process unless it answers in time. A pause of the main program (Ctrl-Z) counts as one second."""
        left_s = limit_s
        while left_s > 0:
            if answered.wait(min(1, left_s)):
                return
            left_s -= 1
        self._timed_out_s = limit_s
        self.kill()

    def _how_it_ended(self) -> str:
        if self._timed_out_s is not None:
            how = f"did not answer within {self._timed_out_s:g} s and was killed"
        else:
            try:
                how = f"ended ({status_in_words(self.popen.wait(5))})"
            except subprocess.TimeoutExpired:
                how = "closed its pipe"
        self._forwarder.join(1)
        return "its worker process " + "; its last output was: ".join([how, *self._last_line])


def status_in_words(returncode: int) -> str:
    """Describe how a process ended.

    >>> status_in_words(3), status_in_words(-9), status_in_words(-63)
    ('exit status 3', 'killed by SIGKILL', 'killed by signal 63')
    """
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"


def _forward(pipe: FileIO, last_line: deque[str]) -> None:
    """Write the lines of a pipe to `sys.stderr`, where progress bars expect them, and remember the last one."""
    with BufferedReader(pipe) as reader:
        while line := reader.readline(1 << 16):
            text = line.decode("utf-8", "backslashreplace")
            if text.strip():
                last_line.append(text.strip())
            with suppress(Exception):  # stderr may be closed; the pipe must be emptied, or the process would wait
                sys.stderr.write(text)


def _thread(name: str, function: Any, *arguments: Any) -> threading.Thread:
    """Start a thread that does not keep the program alive."""
    thread = threading.Thread(target=function, args=arguments, name=f"gtzan-stream-worker-{name}", daemon=True)
    thread.start()
    return thread
