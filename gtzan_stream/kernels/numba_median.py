"""Running median on the CPU: 64 columns at once, each with its current values kept sorted. No branches.

For the next output, one value leaves and one enters. `_replace` does both in one pass over the sorted values s[0] <=
s[1] <= ...:

1. Delete `old`: every value from `old` on moves down by one, ``kept[i] = s[i + 1] if s[i] >= old else s[i]``.
2. Insert `new`: the values above it move up by one, ``s[i] = max(kept[i - 1], min(kept[i], new))``, which is the middle
   one of the three.

For s = 1 3 5 7, old = 3 and new = 6: kept = 1 5 7 inf, and the result is 1 5 6 7. Equal values need no care: deleting
any of them is the same. Both rules look only at neighbours and compile to selects, minima and maxima, so they vectorise
over the columns. A branch would depend on the data, differently in every column.

Behind the last value there is an infinity, s[size]. The filter starts with nothing but infinities, and deletes them one
by one.
"""

from typing import no_type_check

import numpy as np

from gtzan_stream.kernels.compiled import compiled

LANES = 64  # columns at once: for 31 values they take 8 kB, and the inner loops fill whole vector registers
_INF = np.float32(np.inf)


@compiled()
@no_type_check
def median_columns(x, size, out):
    """Fill `out` with the running median of `size`, odd, along axis 0 of float32 [n, m], mirrored at the ends."""
    n, m = x.shape
    half = size // 2
    padded = np.empty((n + 2 * half, LANES), np.float32)
    ordered = np.empty((size + 1) * LANES, np.float32)  # [value, lane]: sorted in each lane, infinity last
    below = np.empty(LANES, np.float32)
    infinity = np.full(LANES, _INF, np.float32)
    for start in range(0, m, LANES):
        width = min(LANES, m - start)
        for i in range(n + 2 * half):
            j = (i - half) % (2 * n)
            j = min(j, 2 * n - 1 - j)
            for lane in range(width):
                padded[i, lane] = x[j, start + lane]
        ordered[:] = _INF
        for i in range(size - 1):
            _replace(ordered, below, infinity, padded[i], size)
        old = infinity
        for i in range(n):
            _replace(ordered, below, old, padded[i + size - 1], size)
            for lane in range(width):
                out[i, start + lane] = ordered[half * LANES + lane]
            old = padded[i]


@compiled()
@no_type_check
def _replace(ordered, below, old, new, size):
    """Delete `old` [lane] from the sorted values, and insert `new` [lane]; `below` is a buffer for kept[i - 1]."""
    for lane in range(LANES):
        below[lane] = -_INF
    for i in range(size):
        row = i * LANES
        for lane in range(LANES):
            here, above = ordered[row + lane], ordered[row + LANES + lane]
            kept = above if here >= old[lane] else here
            smaller = kept if kept < new[lane] else new[lane]
            kept_below = below[lane]
            ordered[row + lane] = smaller if smaller > kept_below else kept_below
            below[lane] = kept
