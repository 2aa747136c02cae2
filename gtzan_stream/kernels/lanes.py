"""Whether kernels in lanes can be used on this machine.

`gtzan_stream.kernels.vector` has the vectors that kernels named ``lanes_*`` are built on, and a picture of them. Where
`lanes` returns 0, callers use the kernels named ``numba_*``, which need nothing special of the CPU.
"""

import functools
import logging

from gtzan_stream.kernels.lane_count import LANES

_log = logging.getLogger(__name__)


@functools.cache
def lanes() -> int:
    """Return `LANES` if vectors of that size can be compiled and pass a small test here, else 0.

    The first call compiles the test, or loads it from the cache of compiled kernels.
    """
    if not LANES:
        return 0
    try:
        from gtzan_stream.kernels.lanes_check import check

        check()
    except Exception as error:
        reason = str(error).partition("\n")[0]
        _log.warning("slower kernels are used, as vectors of %d float32 do not work here: %s", LANES, reason)
        return 0
    return LANES
