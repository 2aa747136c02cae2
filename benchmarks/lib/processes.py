"""Processes that a benchmark starts: their cores, their CPU time, and their end."""

import os
import subprocess
import sys
import time
from typing import Any, Self

from benchmarks.lib.common import ROOT

N_CORES = 2
"""Cores that the processes share."""


class Process:
    """A Python process on the first two cores. It is a context manager, and ends with it.

    Parameters
    ----------
    words : str
        Command line after ``python``; the current folder is that of the checkout.
    more
        Arguments of `subprocess.Popen`.
    """

    def __init__(self, *words: str, **more: Any) -> None:
        used = sorted(os.sched_getaffinity(0))[:N_CORES]
        more |= {"cwd": ROOT, "encoding": "utf-8", "preexec_fn": lambda: os.sched_setaffinity(0, used)}
        self.process = subprocess.Popen([sys.executable, *words], **more)

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self.process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, also if it is stopped or hangs."""
        with self.process:  # which closes its pipes, and waits
            self.process.kill()


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that all threads of a process have used (Linux only)."""
    return time.clock_gettime((~pid << 3) | 2)  # the clock that clock_getcpuclockid(3) returns; /proc counts 10 ms
