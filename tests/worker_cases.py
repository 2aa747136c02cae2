"""Helpers for tests of worker processes."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gtzan_stream.augment.workers import Workers

posix = pytest.mark.skipif(os.name == "nt", reason="signals and forks of POSIX")


def call(workers: Workers, first_sample: float, seed: int = 1) -> float:
    """Call with samples that begin with `first_sample`, and return the first sample of the result."""
    return float(workers.call(np.full(100_000, first_sample, np.float32), 22050, seed)[0])


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")  # a zombie of a container's first process, which may not wait for orphans
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
