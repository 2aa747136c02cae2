"""Read samples from files without the GIL.

`os.preadv` takes as long as the system needs to copy the samples, but each call takes the GIL again, and a thread that
waits for the GIL reads nothing. One call of `read_rows` reads many rows, so that threads seldom wait for each other.
"""

import os
import sys
from typing import no_type_check

import numba
from numba import types

from gtzan_stream.kernels.compiled import compiled

_pread = types.ExternalFunction("pread", types.intp(types.intc, types.uintp, types.uintp, types.int64))


def can_read() -> bool:
    """Return whether this system has `pread` with offsets of 64 bits, and numba compiles: Windows has none."""
    return hasattr(os, "pread") and sys.maxsize > 2**32 and not getattr(numba.config, "DISABLE_JIT", False)


@compiled()
@no_type_check
def read_row(i, places, out):
    """Read row i of a batch.

    Parameters
    ----------
    i : int
    places : int64 [row, 5]
        File descriptor; first byte; samples before the clip, to be read, and after the clip. The samples before and
        after are mirror images of those that are read, which must be more.
    out : int16 [time], contiguous
        At least as long as the row. Gets the samples at its beginning.

    Returns
    -------
    bool
        Whether all samples were read. False also if there are none to read, or if the first, the middle and the last
        of them are 0, so that they may be a hole in the file.
    """
    file, offset, before, n, after = places[i]
    n_bytes, done, address = 2 * n, 0, out.ctypes.data + 2 * before
    while done < n_bytes:
        n_read = _pread(file, address + done, n_bytes - done, offset + done)
        if n_read <= 0:  # an error, or the end of the file
            return False
        done += n_read
    first, last = before, before + n - 1
    if n == 0 or (out[first] == 0 and out[first + n // 2] == 0 and out[last] == 0):
        return False
    for k in range(1, before + 1):
        out[first - k] = out[first + k]
    for k in range(1, after + 1):
        out[last + k] = out[last - k]
    return True


@compiled()
@no_type_check
def read_rows(first, places, out, is_read):
    """Read the rows from `first` on, each to a row of `out`, int16 [n, time], and fill `is_read`, bool [n]."""
    for i in range(len(out)):
        is_read[i] = read_row(first + i, places, out[i])
