"""Memory for replies that is used again.

A server keeps hundreds of batches. To clear the pages of fresh memory for each would take the system longer than some
batches take to make.
"""

import weakref
from collections import defaultdict

import numpy as np

_MAX_FREE_BYTES = 64 << 20


class Buffers:
    """Buffers for bytes, used again when nothing refers to their content any more.

    The methods may be called from any thread.
    """

    def __init__(self) -> None:
        self._free: defaultdict[int, list[np.ndarray]] = defaultdict(list)  # by size
        self.n_free_bytes = 0

    def copy_of(self, array: np.ndarray) -> np.ndarray:
        """Return the bytes of an array, uint8, in a buffer that is free when the result is garbage-collected."""
        size = array.nbytes
        try:
            buffer = self._free[size].pop()
            self.n_free_bytes -= size
        except IndexError:
            buffer = np.empty(size, np.uint8)
        content = buffer[:]
        content[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        weakref.finalize(content, self._give_back, buffer).atexit = False
        return content

    def _give_back(self, buffer: np.ndarray) -> None:
        if self.n_free_bytes + buffer.nbytes <= _MAX_FREE_BYTES:
            self.n_free_bytes += buffer.nbytes
            self._free[buffer.nbytes].append(buffer)
