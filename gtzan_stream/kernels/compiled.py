"""numba's compiler, as the kernels for the CPU use it."""

import logging
from collections.abc import Callable
from typing import Any

import numba

_log = logging.getLogger(__name__)


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function with numba, without the GIL, and keep the machine code on the disk where that is possible.

    numba refuses to compile at all where no folder for its cache can be written, as in a container whose file system is
    read-only, and fails in the first call where the cache's disk is full. Here the function is compiled again in each
    process instead.

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
                _log.info("the machine code of %s is not kept: %s", function.__name__, error)

        kernel._cache.save_overload = save_if_possible
        return kernel

    return compile_
