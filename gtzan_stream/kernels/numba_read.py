"""Read many pieces of files in one call.

`os.preadv` takes as long as the system needs to copy a piece, but each call takes the GIL again, and a thread that
waits for the GIL reads nothing. Threads that read many pieces in one call of this kernel never wait for each other.
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
def read_pieces(files, offsets, sizes, rows, out, n_read):
    """Read piece i, ``sizes[i]`` bytes of a file from ``offsets[i]`` on, to the beginning of row ``rows[i]`` of `out`.

    Parameters
    ----------
    files : int32 [piece]
        File descriptors.
    offsets, sizes : int64 [piece]
    rows : int64 [piece]
    out : int16 [row, time], contiguous
    n_read : int64 [piece]
        Gets the number of bytes read, which is smaller than the size at the end of a file and after an error.
    """
    for i in range(len(files)):
        address = out[rows[i]].ctypes.data
        done = 0
        while done < sizes[i]:
            n = _pread(files[i], address + done, sizes[i] - done, offsets[i] + done)
            if n <= 0:
                break
            done += n
        n_read[i] = done
