"""Read samples from files without the GIL.

`os.preadv` takes as long as the system needs to copy the samples, but each call takes the GIL again, and a thread that
waits for the GIL reads nothing. One call of `read_rows` reads many rows, so that threads never wait for each other.
"""

import ctypes
import sys
from typing import no_type_check

from numba import types

from gtzan_stream.kernels.compiled import compiled

_pread = types.ExternalFunction("pread", types.intp(types.intc, types.uintp, types.uintp, types.int64))


def can_read() -> bool:
    """Return whether the C library has `pread`, with offsets of 64 bits: Windows and 32-bit systems do not."""
    return sys.platform != "win32" and sys.maxsize > 2**32 and hasattr(ctypes.CDLL(None), "pread")


@compiled()
@no_type_check
def read_row(i, files, offsets, lengths, out):
    """Read row i: `lengths[i]` samples of a file, from byte `offsets[i]` on.

    Parameters
    ----------
    i : int
    files : int32 [row]
        File descriptors.
    offsets, lengths : int64 [row]
    out : int16 [time], contiguous
        At least as long as the row. Gets the samples at its beginning.

    Returns
    -------
    bool
        Whether all samples were read. False also if there are none to read, or if the first, the middle and the last
        of them are 0, so that they may be a hole in the file.
    """
    n_bytes, done, address = 2 * lengths[i], 0, out.ctypes.data
    while done < n_bytes:
        n = _pread(files[i], address + done, n_bytes - done, offsets[i] + done)
        if n <= 0:  # an error, or the end of the file
            return False
        done += n
    n = lengths[i]
    return n > 0 and (out[0] != 0 or out[n // 2] != 0 or out[n - 1] != 0)


@compiled()
@no_type_check
def read_rows(first, files, offsets, lengths, out, is_read):
    """Read the rows from `first` on, each to a row of `out`, int16 [n, time], and fill `is_read`, bool [n]."""
    for i in range(len(out)):
        is_read[i] = read_row(first + i, files, offsets, lengths, out[i])
