"""Scratch memory: arrays that a thread uses again and again.

A fresh array of a row's size is memory that the system must map and clear page by page, which takes longer than some
transforms. So each thread keeps the arrays that it has given back. An array belongs to one `borrowed` block at a time,
so blocks may be nested, also through a transform of the user that applies another transform.
"""

import threading
from types import TracebackType

import numpy as np

KEPT_BYTES = 16 << 20
"""Larger arrays are not kept: a thread that once computed a long clip would hold its memory for good."""
_ALIGNMENT = 64  # bytes: a line of the CPU's cache, and its widest vector
_thread = threading.local()


class borrowed:  # used like a function
    """A context manager that yields an array [n] of `dtype` with undefined content. After the block it is reused.

    >>> with borrowed(3, np.float32) as samples:
    ...     samples[:] = 1
    """

    def __init__(self, n: int, dtype: type) -> None:
        self._n, self._dtype = n, np.dtype(dtype)

    def __enter__(self) -> np.ndarray:
        free: list[np.ndarray] = _thread.__dict__.setdefault("free", [])
        n_bytes = self._n * self._dtype.itemsize
        buffer = free.pop() if free else np.empty(0, np.uint8)
        self._buffer = buffer if len(buffer) >= n_bytes else _aligned(n_bytes + n_bytes // 4)
        return self._buffer[:n_bytes].view(self._dtype)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if len(self._buffer) <= KEPT_BYTES:
            _thread.free.append(self._buffer)


def _aligned(n_bytes: int) -> np.ndarray:
    memory = np.empty(n_bytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + n_bytes]
