"""numba's compiler with the options of the CPU kernels and our cache of machine code."""

from collections.abc import Callable
from typing import Any

import numba

from gtzan_stream.kernels.cache import use_cache


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function with numba, without the GIL, and keeps the machine code on disk.

    Parameters
    ----------
    options
        Those of `numba.njit`.
    """

    def compile_(function: Callable[..., Any]) -> Any:
        kernel = numba.njit(nogil=True, **options)(function)
        use_cache(kernel, options)
        return kernel

    return compile_
