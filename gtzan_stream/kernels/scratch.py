"""Memory for intermediate results of kernels, kept by each thread, because fresh memory costs a page fault per 4 kB."""

import threading

import numpy as np

ALIGNMENT = 64
"""Bytes of a cache line and of the largest vector register; numpy's own arrays begin at multiples of 16."""

_thread = threading.local()


def scratch(size: int) -> np.ndarray:
    """Return this thread's float32 array of at least `size` numbers, aligned, with arbitrary contents.

    The next call in the same thread may return the same array.
    """
    array: np.ndarray | None = getattr(_thread, "array", None)
    if array is None or len(array) < size:
        memory = np.empty(4 * size + ALIGNMENT, np.uint8)
        begin = -memory.ctypes.data % ALIGNMENT
        array = _thread.array = memory[begin : begin + 4 * size].view(np.float32)
    return array
