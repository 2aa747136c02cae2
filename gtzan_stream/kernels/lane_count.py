"""How many float32 the vectors of `gtzan_stream.kernels.vector` hold on this machine: 16, 8, or none."""

import logging
import os
import platform

from llvmlite import binding
from numba.core import config

_log = logging.getLogger(__name__)
_VARIABLE = "GTZAN_STREAM_LANES"


def _features() -> set[str]:
    """Return the names of the CPU features that numba compiles for, such as avx2.

    Someone who sets NUMBA_CPU_NAME, to share compiled code between machines, gets those in NUMBA_CPU_FEATURES alone.
    """
    name, features = (getattr(config, option) for option in ("CPU_NAME", "CPU_FEATURES"))
    if name is None and features is None:
        return {name for name, is_present in binding.get_host_cpu_features().items() if is_present}
    return {name.removeprefix("+") for name in (features or "").split(",")}


def _fitting_lanes() -> int:
    """Return the number of float32 that fill a vector register: 16 with AVX-512, else 8, which LLVM splits if needed.

    Return 0 on an x86 CPU without fused multiply-add: a call to the C library would replace every one.
    """
    features = _features()
    if platform.machine().lower() in ("x86_64", "amd64", "i386", "i686") and "fma" not in features:
        return 0
    return 16 if "avx512f" in features else 8


def _chosen_lanes() -> int:
    """Return the number in the environment variable GTZAN_STREAM_LANES, or else the one that fits the CPU."""
    text = os.environ.get(_VARIABLE, "")
    if text in ("16", "8", "0"):
        return int(text)
    if text:
        _log.warning("%s must be 16, 8 or 0, got %r: the number that suits this CPU is used", _VARIABLE, text)
    return _fitting_lanes()


LANES = _chosen_lanes()
"""Float32 in a vector; 0 for none. Read once, because it is compiled into the kernels. Results do not depend on it."""
