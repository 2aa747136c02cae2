"""Running median on the CPU: columns walk side by side, each with its window kept sorted, without a branch."""

from typing import no_type_check

import numpy as np

from gtzan_stream.kernels.compiled import compiled

LANES = 64  # columns that walk together: a window of 31 is then 8 kB, and the inner loops fill whole vector registers
_INF = np.float32(np.inf)


@compiled()
@no_type_check
def median_columns(x, size, out):
    """Running median of `size`, odd, along axis 0 of float32 [n, m], reflected at the ends, into `out`."""
    n, m = x.shape
    half = size // 2
    padded = np.empty((n + 2 * half, LANES), np.float32)
    window = np.empty((size + 1) * LANES, np.float32)  # sorted in each lane, smallest first, infinity last
    shifted = np.empty(LANES, np.float32)
    infinity = np.full(LANES, _INF, np.float32)
    for start in range(0, m, LANES):
        width = min(LANES, m - start)
        for i in range(n + 2 * half):
            j = (i - half) % (2 * n)
            j = min(j, 2 * n - 1 - j)
            for lane in range(width):
                padded[i, lane] = x[j, start + lane]
        window[:] = _INF
        for i in range(size - 1):
            _replace(window, shifted, infinity, padded[i], size)
        old = infinity
        for i in range(n):
            _replace(window, shifted, old, padded[i + size - 1], size)
            for lane in range(width):
                out[i, start + lane] = window[half * LANES + lane]
            old = padded[i]


@compiled()
@no_type_check
def _replace(window, below, old, new, size):
    """Delete `old` from the sorted window, put in `new`: each place looks only at its neighbours."""
    for lane in range(LANES):
        below[lane] = -_INF
    for i in range(size):
        place = i * LANES
        for lane in range(LANES):
            here, above = window[place + lane], window[place + LANES + lane]
            kept = above if here >= old[lane] else here
            lower = kept if kept < new[lane] else new[lane]
            floor = below[lane]
            window[place + lane] = lower if lower > floor else floor
            below[lane] = kept
