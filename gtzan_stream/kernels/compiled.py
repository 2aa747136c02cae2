"""numba's compiler with the options of the CPU kernels, and a fallback where its cache cannot be written."""

import logging
from collections.abc import Callable
from typing import Any

import numba

_log = logging.getLogger(__name__)


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function with numba, without the GIL, and caches the machine code on disk.

    Where no folder for its cache can be written, such as in a container with a read-only file system, numba refuses to
    compile at all; where the cache's disk is full, the first call fails. This decorator then skips the cache, and the
    function is compiled again in each process.

    Parameters
    ----------
    options
        Those of `numba.njit`.
    """

    def compile_(function: Callable[..., Any]) -> Any:
        try:
            kernel = numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError as error:
            _log.info("%s", error)
            return numba.njit(nogil=True, **options)(function)
        save = kernel._cache.save_overload

        def save_if_possible(*arguments: Any) -> None:
            try:
                save(*arguments)
            except OSError as error:
                _log.info("the machine code of %s could not be cached: %s", function.__name__, error)

        kernel._cache.save_overload = save_if_possible
        return kernel

    return compile_
